from more_server.text.languages.base import Language, listed, moneys, nouns, num2words, words

MONTHS = listed("januari februari maart april mei juni juli augustus september oktober november december")
_RULERS = listed(
    "willem lodewijk karel hendrik filips frederik benedictus pius paulus leo alexander nicolaas napoleon "
    "albert leopold boudewijn elizabeth elisabeth catharina"
)


def _cardinal(n: int, _gender: str) -> str:
    return num2words(n, "nl")


def _ordinal(n: int, _form: str) -> str:
    return num2words(n, "nl", "ordinal")


def _year(n: int) -> str:
    century, rest = divmod(n, 100)
    if not 1100 <= n <= 1999:
        return _cardinal(n, "")
    if rest < 10:
        return f"{_cardinal(century, '')}honderd{_cardinal(rest, '') if rest else ''}"
    return f"{_cardinal(century, '')} {_cardinal(rest, '')}"


def _date(day: int, month: int, year: int | None, _before: str) -> str:
    text = f"{_cardinal(day, '')} {MONTHS[month - 1]}"
    return text if year is None else f"{text} {_year(year)}"


def _time(hour: int, minute: int, _before: str) -> str:
    return f"{_cardinal(hour, '')} uur" + (f" {_cardinal(minute, '')}" if minute else "")


def _roman(value: int, before: str, _after: str) -> str | None:
    name = before.lower()
    if name in _RULERS:
        return f"de {_ordinal(value, '')}"
    return str(value) if name in listed("hoofdstuk deel band artikel klasse fase type wereldoorlog boek akte") else None


LANGUAGE = Language(
    code="nl",
    names=("dutch", "nederlands", "nld", "dut", "flemish"),
    character_limit=251,
    cardinal=_cardinal,
    ordinal=_ordinal,
    ordinal_marks={"e": "", "de": "", "ste": "", "º": "", "ª": ""},
    decimal=",",
    thousands=".",
    point="komma",
    minus="min",
    currencies=moneys("""
        $,US$,USD   dollar; cent
        €,EUR       euro; cent
        £,GBP       pond; penny|pence
        ¥,JPY       yen
        ₹,INR       roepie
        zł,PLN      zloty
        Kč,CZK      Tsjechische kroon|Tsjechische kronen
        Ft,HUF      forint
        ₺,TRY       lira
        ₽,RUB       roebel
        ₩,KRW       won
        R$,BRL      real; centavo|centavo's
        CHF         Zwitserse frank; rappen
        CNY         yuan
    """),
    money_and=" en ",
    magnitudes=words("""
        miljoen = miljoen; miljard = miljard; mln = miljoen; mln. = miljoen; mld = miljard; mld. = miljard
        duizend = duizend; biljoen = biljoen
    """),
    units=nouns("""
        km kilometer; m meter; cm centimeter; mm millimeter; kg kilogram; g gram; mg milligram; l,L liter
        ml milliliter
        km/h,km/u kilometer per uur; m/s meter per seconde; °C graad Celsius|graden Celsius
        °F graad Fahrenheit|graden Fahrenheit
        ° graad|graden; % procent; ‰ promille; m² vierkante meter; km² vierkante kilometer; m³ kubieke meter
        W watt; kW kilowatt; kWh kilowattuur; V volt; Hz hertz; kHz kilohertz; MHz megahertz; GHz gigahertz
        KB,kB kilobyte; MB megabyte; GB gigabyte; TB terabyte; h,u uur; min minuut|minuten; s seconde|seconden
        ms milliseconde|milliseconden
    """),
    months=MONTHS,
    date=_date,
    time=_time,
    time_words=r" ?(?:uur|u\b)(?!\w)",
    year=_year,
    range_word=" tot ",
    symbols=words("""
        & = en; + = plus; @ = apenstaartje; # = hekje; #1 = nummer; = = is gelijk aan; < = kleiner dan
        > = groter dan
        ≤ = hoogstens; ≥ = minstens; ≈ = ongeveer; ~ = ongeveer; × = keer; ÷ = gedeeld door
        ± = plus of min; § = paragraaf; / = gedeeld door; ½ = een half; ¼ = een kwart; ¾ = drie kwart; ² = kwadraat
        ³ = tot de derde
    """),
    addresses=words("""
        . = punt; @ = apenstaartje; / = slash; - = streepje; _ = laag streepje; : = dubbele punt; + = plus
    """),
    letters="aa bee cee dee ee ef gee haa ie jee kaa el em en oo pee kuu er es tee uu vee wee iks ij zet",
    titles=words("""
        dhr. = de heer; mevr. = mevrouw; mw. = mevrouw; mr. = meester; dr. = dokter; drs. = doctorandus
        prof. = professor; ir. = ingenieur; jhr. = jonkheer
        ing. = ingenieur; ds. = dominee; St. = sint; bijv. = bijvoorbeeld; bv. = bijvoorbeeld
        d.w.z. = dat wil zeggen
        m.a.w. = met andere woorden
        o.a. = onder andere; i.p.v. = in plaats van; m.b.t. = met betrekking tot; t.o.v. = ten opzichte van
        a.u.b. = alstublieft; n.a.v. = naar aanleiding van
        t/m = tot en met; ca. = circa; blz. = bladzijde; nr. = nummer; tel. = telefoon; incl. = inclusief
        excl. = exclusief; max. = maximaal
        vgl. = vergelijk; z.g. = zogenaamd; evt. = eventueel; resp. = respectievelijk; art.# = artikel
        hfst.# = hoofdstuk; vs. = tegen; jr. = junior
    """),
    closings=words("""
        enz. = enzovoort; etc. = et cetera; e.d. = en dergelijke; v.Chr. = voor Christus; n.Chr. = na Christus
        B.V. = bee vee; N.V. = en vee; Co. = compagnie
    """),
    plain_words=(
        "aan al als ben bij dan dat de der die dit door een en er ga haar had heb hem hen het hij hoe hun ik "
        "in is ja je jij kan maar me men met mij na naar nee niet nog nu of om ons onze ook op over te toe "
        "tot uit van voor want was wat we wel wie wij zal ze zij zo alle stop dag"
    ),
    roman=_roman,
)  # fmt: skip

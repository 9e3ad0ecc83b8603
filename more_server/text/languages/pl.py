import re

from more_server.text.languages.base import Language, listed, moneys, nouns, num2words, words

MONTHS = listed("stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia")
_NO_ORDINALS = ("cztery", "trzy")
_ENDINGS = {"n": ("e", "ie"), "g": ("ego", "iego"), "l": ("ym", "im"), "f": ("a", "a"), "fl": ("ej", "iej")}


def _plural(n: int) -> int:
    if n == 1:
        return 0
    return 1 if n % 10 in (2, 3, 4) and n % 100 not in (12, 13, 14) else 2


def _cardinal(n: int, gender: str) -> str:
    text = num2words(n, "pl")
    if n == 1 and gender in ("f", "n"):
        return "jedna" if gender == "f" else "jedno"
    return re.sub(r"\bdwa$", "dwie", text) if gender == "f" else text


def _ordinal(n: int, form: str) -> str:
    """Forms: masculine, `g`enitive, `l`ocative, `f`eminine, `fl` its locative; tens and units both inflect."""
    parts = num2words(n, "pl", "ordinal").split()
    if form:
        parts[-2:] = [_inflect(part, *_ENDINGS[form]) for part in parts[-2:]]
    return " ".join(parts)


def _inflect(word: str, hard: str, soft: str) -> str:
    if word.endswith("y") and word not in _NO_ORDINALS:
        return word[:-1] + hard
    # drugi keeps its i only before e; trzeci always softens
    if word.endswith("i"):
        return word[:-1] + ("ia" if hard == "a" and word == "trzeci" else soft)
    return word


def _dotted(n: int, _before: str, after: str) -> str | None:
    if after in MONTHS:
        return _ordinal(n, "g")
    if not after[0].islower():
        return None
    return _ordinal(n, "f" if after[-1] == "a" else "n" if after[-1] in "eoę" else "")


def _date(day: int, month: int, year: int | None, _before: str) -> str:
    text = f"{_ordinal(day, 'g')} {MONTHS[month - 1]}"
    return text if year is None else f"{text} {_ordinal(year, 'g')} roku"


def _time(hour: int, minute: int, before: str) -> str:
    oblique = before.lower() in listed("o po od do przed około koło godzinie godziny")
    spelt = _ordinal(hour, "fl" if oblique else "f") if hour else "zero"
    if not minute:
        return spelt
    return f"{spelt} {'zero ' if minute < 10 else ''}{_cardinal(minute, '')}"


_DOTTED_TIME = re.compile(r"(?<=\bo )([01]?\d|2[0-3])\.([0-5]\d)(?![\d.,]\d|\d)")
_DATE_YEAR = re.compile(r"(\d{1,2}\.\d{1,2}\.\d{4}) ?(?:r\.|roku\b)")
_YEAR = re.compile(
    r"(?<![\w.])(?P<before>[Ww] )?(?P<year>[12]\d{3}) ?(?:r\.(?!\w)|roku\b)"
    r"|(?<!\w)(?P<rok>[Rr]ok) (?P<plain>[12]\d{3})(?!\d|[.,]\d)"
)


def _phrases(text: str) -> str:
    def year(m: re.Match[str]) -> str:
        if m["rok"]:
            return f"{m['rok']} {_ordinal(int(m['plain']), '')}"
        return f"{m['before'] or ''}{_ordinal(int(m['year']), 'l' if m['before'] else 'g')} roku"

    text = _DOTTED_TIME.sub(r"\1:\2", text)
    return _YEAR.sub(year, _DATE_YEAR.sub(r"\1", text))


def _roman(value: int, before: str, after: str) -> str | None:
    if after in ("wiek", "wieku", "w"):
        return _ordinal(value, {"wiek": "", "wieku": "l" if before.lower() in ("w", "we") else "g", "w": ""}[after])
    if after in ("wojna", "wojny", "wojnie", "Wojna", "Rzeczpospolita"):
        return _ordinal(value, "f" if after[-1] == "a" else "fl")
    if before.lower() in listed("rozdział tom część akt typ klasa etap faza"):
        return str(value)
    return _ordinal(value, "") if before[:1].isupper() and value > 1 else None


LANGUAGE = Language(
    code="pl",
    names=("polish", "polski", "pol"),
    character_limit=224,
    cardinal=_cardinal,
    ordinal=_ordinal,
    ordinal_marks={
        "º": "", "ª": "f", "-szy": "", "-gi": "", "-ty": "", "-go": "g",
        "-ego": "g", "-sza": "f", "-ta": "f", "-tej": "fl",
    },
    dotted_ordinal=_dotted,
    decimal=",",
    thousands=". ",
    point="przecinek",
    minus="minus",
    fraction_as_number=True,
    plural=_plural,
    fraction_form=3,
    currencies=moneys("""
        zł,PLN      m|złoty|złote|złotych|złotego; m|grosz|grosze|groszy|grosza
        $,US$,USD   m|dolar|dolary|dolarów|dolara; m|cent|centy|centów|centa
        €,EUR       n|euro; m|cent|centy|centów|centa
        £,GBP       m|funt|funty|funtów|funta; m|pens|pensy|pensów|pensa
        ¥,JPY       m|jen|jeny|jenów|jena
        ₹,INR       f|rupia|rupie|rupii|rupii
        Kč,CZK      f|korona czeska|korony czeskie|koron czeskich|korony czeskiej
        Ft,HUF      m|forint|forinty|forintów|forinta
        ₺,TRY       f|lira turecka|liry tureckie|lir tureckich|liry tureckiej
        ₽,RUB       m|rubel|ruble|rubli|rubla; f|kopiejka|kopiejki|kopiejek|kopiejki
        ₩,KRW       m|won|wony|wonów|wona
        R$,BRL      m|real|reale|reali|reala
        CHF         m|frank szwajcarski|franki szwajcarskie|franków szwajcarskich|franka szwajcarskiego
        CNY         m|juan|juany|juanów|juana
    """),
    magnitudes=words("""
        tysiąc = m|tysiąc; tysiące = m|tysiące; tysięcy = m|tysięcy; milion = m|milion; miliony = m|miliony
        milionów = m|milionów; miliona = m|miliona; miliard = m|miliard; miliardy = m|miliardy
        miliardów = m|miliardów
        miliarda = m|miliarda; tys. = m|tysiąc|tysiące|tysięcy|tysiąca; mln = m|milion|miliony|milionów|miliona
        mld = m|miliard|miliardy|miliardów|miliarda
    """),
    units=nouns("""
        km m|kilometr|kilometry|kilometrów|kilometra; m m|metr|metry|metrów|metra
        cm m|centymetr|centymetry|centymetrów|centymetra
        mm m|milimetr|milimetry|milimetrów|milimetra; kg m|kilogram|kilogramy|kilogramów|kilograma
        g m|gram|gramy|gramów|grama
        mg m|miligram|miligramy|miligramów|miligrama; l,L m|litr|litry|litrów|litra
        ml m|mililitr|mililitry|mililitrów|mililitra
        km/h m|kilometr na godzinę|kilometry na godzinę|kilometrów na godzinę|kilometra na godzinę
        m/s m|metr na sekundę|metry na sekundę|metrów na sekundę|metra na sekundę
        °C m|stopień Celsjusza|stopnie Celsjusza|stopni Celsjusza|stopnia Celsjusza
        °F m|stopień Fahrenheita|stopnie Fahrenheita|stopni Fahrenheita|stopnia Fahrenheita
        ° m|stopień|stopnie|stopni|stopnia
        % m|procent|procent|procent|procent; ‰ m|promil|promile|promili|promila
        m² m|metr kwadratowy|metry kwadratowe|metrów kwadratowych|metra kwadratowego
        km² m|kilometr kwadratowy|kilometry kwadratowe|kilometrów kwadratowych|kilometra kwadratowego
        m³ m|metr sześcienny|metry sześcienne|metrów sześciennych|metra sześciennego
        W m|wat|waty|watów|wata; kW m|kilowat|kilowaty|kilowatów|kilowata; V m|wolt|wolty|woltów|wolta
        kWh f|kilowatogodzina|kilowatogodziny|kilowatogodzin|kilowatogodziny
        Hz m|herc|herce|herców|herca; kHz m|kiloherc|kiloherce|kiloherców|kiloherca
        MHz m|megaherc|megaherce|megaherców|megaherca
        GHz m|gigaherc|gigaherce|gigaherców|gigaherca; KB,kB m|kilobajt|kilobajty|kilobajtów|kilobajta
        MB m|megabajt|megabajty|megabajtów|megabajta
        GB m|gigabajt|gigabajty|gigabajtów|gigabajta; TB m|terabajt|terabajty|terabajtów|terabajta
        h,godz. f|godzina|godziny|godzin|godziny; min,min. f|minuta|minuty|minut|minuty
        s,sek. f|sekunda|sekundy|sekund|sekundy
        ms f|milisekunda|milisekundy|milisekund|milisekundy
    """),
    months=MONTHS,
    date=_date,
    month_day=(r"(?P<day>\d{1,2})\.? (?P<month>{months})(?: (?P<year>\d{4})(?: ?r\.| roku\b)?)?(?!\w)",),
    time=_time,
    phrases=_phrases,
    range_word=" ",
    symbols=words("""
        & = i; + = plus; @ = małpa; # = krzyżyk; #1 = numer; = = równa się; < = mniejsze niż; > = większe niż
        ≤ = najwyżej; ≥ = co najmniej; ≈ = około; ~ = około; × = razy; ÷ = podzielić przez
        ± = plus minus; § = paragraf; / = przez; ½ = pół; ¼ = jedna czwarta; ¾ = trzy czwarte; ² = do kwadratu
        ³ = do sześcianu
    """),
    addresses=words(". = kropka; @ = małpa; / = ukośnik; - = myślnik; _ = podkreślnik; : = dwukropek; + = plus"),
    letters="a be ce de e ef gie ha i jot ka el em en o pe ku er es te u fau wu iks igrek zet",
    more_letters={"Ł": "eł", "Ś": "eś", "Ż": "żet", "Ź": "ziet", "Ć": "cie", "Ń": "eń", "Ó": "o kreskowane"},
    titles=words("""
        dr = doktor; dr. = doktor; prof. = profesor; mgr = magister; inż. = inżynier; p.^ = pan; św. = święty
        ks. = ksiądz; gen. = generał; płk = pułkownik
        np. = na przykład; tzn. = to znaczy; tzw. = tak zwany; m.in. = między innymi; ok. = około; tj. = to jest
        wg = według; ww. = wyżej wymieniony
        ul. = ulica; al. = aleja; pl.^ = plac; godz.# = godzina; str.# = strona; nr = numer; tel. = telefon
        poz.# = pozycja; art.# = artykuł; ust.# = ustęp; rozdz.# = rozdział
        pkt.# = punkt; zob. = zobacz; por. = porównaj; jr. = junior
    """),
    closings=words("""
        itd. = i tak dalej; itp. = i tym podobne; etc. = et cetera; n.e. = naszej ery; p.n.e. = przed naszą erą
        sp. z o.o. = spółka z o o; S.A. = es a
    """),
    plain_words=(
        "a aby ale bo by być co coś czy dla do dwa go gdy i ich ile im ja jak jest jej już kto ma mi mnie my "
        "na nad nam nas nie nic niż no o od on ona oni ono oraz po pod pan przy raz są się tak tam te tej ten "
        "to tu ty tym u w we wy z za ze że rok dom król"
    ),
    roman=_roman,
)  # fmt: skip

import re

from more_server.text.languages.base import Language, listed, moneys, nouns, num2words, words

MONTHS = listed("ledna února března dubna května června července srpna září října listopadu prosince")
_ONES = listed(
    "nultý první druhý třetí čtvrtý pátý šestý sedmý osmý devátý desátý jedenáctý dvanáctý třináctý čtrnáctý patnáctý "
    "šestnáctý sedmnáctý osmnáctý devatenáctý"
)
_TENS = listed("dvacátý třicátý čtyřicátý padesátý šedesátý sedmdesátý osmdesátý devadesátý")
_HUNDREDS = listed("stý dvoustý třístý čtyřstý pětistý šestistý sedmistý osmistý devítistý")


def _plural(n: int) -> int:
    if n == 1:
        return 0
    return 1 if 2 <= n <= 4 else 2


def _cardinal(n: int, gender: str) -> str:
    text = num2words(n, "cs").replace("dvěstě", "dvě stě").replace("čtyřista", "čtyři sta").replace("třista", "tři sta")
    text = re.sub(r"(pět|šest|sedm|osm|devět)set", r"\1 set", text)
    if n == 1:
        return {"m": "jeden", "n": "jedno"}.get(gender, "jedna")
    return re.sub(r"\bdva$", "dvě", text) if gender in ("f", "n") else text


def _ordinal(n: int, form: str) -> str:
    """num2words has none for Czech. Forms: `g`enitive, `l`ocative, `f`eminine, `n`euter; none: masculine."""
    text = " ".join(_ordinal_parts(n))
    hard, soft = {"": ("ý", "í"), "g": ("ého", "ího"), "l": ("ém", "ím"), "f": ("á", "í"), "n": ("é", "í")}[form]
    return re.sub(r"í\b", soft, re.sub(r"ý\b", hard, text))


def _agreeing(n: int, before: str, after: str) -> str:
    if before.lower() in ("v", "ve", "na", "o", "po") and after[-1:] in ("í", "ě", "u"):
        return _ordinal(n, "l")
    return _ordinal(n, {"a": "f", "í": "n", "o": "n", "e": "n"}.get(after[-1:], ""))


def _ordinal_parts(n: int) -> list[str]:
    thousands, below = divmod(n, 1000)
    hundreds, rest = divmod(below, 100)
    if not below:
        return [{1: "", 2: "dvou"}.get(thousands, f"{_cardinal(thousands, '')} ") + "tisící"] if n else ["nultý"]
    parts = [_cardinal(thousands * 1000, "")] if thousands else []
    if hundreds:
        parts.append(_cardinal(hundreds * 100, "") if rest else _HUNDREDS[hundreds - 1])
    if rest >= 20:
        parts.append(_TENS[rest // 10 - 2])
        rest %= 10
    return parts + ([_ONES[rest]] if rest else [])


def _decimal(whole: str, fraction: str) -> str | None:
    if len(whole) > 15 or len(fraction) > 3 or not int(fraction):
        return None
    integer = int(whole)
    zeros = "nula " * (len(fraction) - len(fraction.lstrip("0")))
    word = "celá" if integer in (0, 1) else "celé" if integer <= 4 else "celých"
    return f"{_cardinal(integer, 'f')} {word} {zeros}{_cardinal(int(fraction), '')}"


def _dotted(n: int, before: str, after: str) -> str | None:
    if after in MONTHS:
        return _ordinal(n, "g")
    return _agreeing(n, before, after) if after[0].islower() else None


def _date(day: int, month: int, year: int | None, _before: str) -> str:
    text = f"{_ordinal(day, 'g')} {MONTHS[month - 1]}"
    return text if year is None else f"{text} {_cardinal(year, '')}"


def _time(hour: int, minute: int, _before: str) -> str:
    if not minute:
        return f"{_cardinal(hour, 'f')} {('hodina', 'hodiny', 'hodin')[_plural(hour)]}"
    return f"{_cardinal(hour, 'f')} {'nula ' if minute < 10 else ''}{_cardinal(minute, '')}"


def _roman(value: int, before: str, after: str) -> str | None:
    if after in ("století", "stol"):
        return _agreeing(value, before, "století")
    if before[:1].isupper() and value > 1:
        return _ordinal(value, "g" if before.lower() in ("ze", "do", "od") else "")
    if after in ("světová", "světové"):
        return _ordinal(value, "f")
    return str(value) if before.lower() in listed("kapitola díl část svazek typ třída fáze") else None


LANGUAGE = Language(
    code="cs",
    names=("czech", "čeština", "ces", "cze"),
    character_limit=186,
    cardinal=_cardinal,
    ordinal=_ordinal,
    ordinal_marks={"º": "", "ª": "f"},
    dotted_ordinal=_dotted,
    decimal=",",
    thousands=". ",
    point="celá",
    minus="minus",
    fraction_as_number=True,
    decimal_words=_decimal,
    plural=_plural,
    fraction_form=3,
    currencies=moneys("""
        Kč,CZK      f|koruna|koruny|korun|koruny; m|haléř|haléře|haléřů|haléře
        $,US$,USD   m|dolar|dolary|dolarů|dolaru; m|cent|centy|centů|centu
        €,EUR       n|euro|eura|eur|eura; m|cent|centy|centů|centu
        £,GBP       f|libra|libry|liber|libry; f|pence
        ¥,JPY       m|jen|jeny|jenů|jenu
        ₹,INR       f|rupie|rupie|rupií|rupie
        zł,PLN      m|zlotý|zloté|zlotých|zlotého
        Ft,HUF      m|forint|forinty|forintů|forintu
        ₺,TRY       f|lira|liry|lir|liry
        ₽,RUB       m|rubl|rubly|rublů|rublu
        ₩,KRW       m|won|wony|wonů|wonu
        R$,BRL      m|real|realy|realů|realu
        CHF         m|švýcarský frank|švýcarské franky|švýcarských franků|švýcarského franku
        CNY         m|jüan|jüany|jüanů|jüanu
    """),
    magnitudes=words("""
        tisíc = m|tisíc; tisíce = m|tisíce; milion = m|milion; miliony = m|miliony; milionů = m|milionů
        milionu = m|milionu; miliarda = f|miliarda; miliardy = f|miliardy; miliard = f|miliard
        tis. = m|tisíc|tisíce|tisíc|tisíce
        mil. = m|milion|miliony|milionů|milionu; mld. = f|miliarda|miliardy|miliard|miliardy
    """),
    units=nouns("""
        km m|kilometr|kilometry|kilometrů|kilometru; m m|metr|metry|metrů|metru
        cm m|centimetr|centimetry|centimetrů|centimetru
        mm m|milimetr|milimetry|milimetrů|milimetru; kg m|kilogram|kilogramy|kilogramů|kilogramu
        g m|gram|gramy|gramů|gramu
        mg m|miligram|miligramy|miligramů|miligramu; l,L m|litr|litry|litrů|litru
        ml m|mililitr|mililitry|mililitrů|mililitru
        km/h m|kilometr za hodinu|kilometry za hodinu|kilometrů za hodinu|kilometru za hodinu
        m/s m|metr za sekundu|metry za sekundu|metrů za sekundu|metru za sekundu
        °C m|stupeň Celsia|stupně Celsia|stupňů Celsia|stupně Celsia
        °F m|stupeň Fahrenheita|stupně Fahrenheita|stupňů Fahrenheita|stupně Fahrenheita
        ° m|stupeň|stupně|stupňů|stupně; % n|procento|procenta|procent|procenta; ‰ n|promile
        m² m|metr čtvereční|metry čtvereční|metrů čtverečních|metru čtverečního
        km² m|kilometr čtvereční|kilometry čtvereční|kilometrů čtverečních|kilometru čtverečního
        m³ m|metr krychlový|metry krychlové|metrů krychlových|metru krychlového
        W m|watt|watty|wattů|wattu; kW m|kilowatt|kilowatty|kilowattů|kilowattu
        kWh f|kilowatthodina|kilowatthodiny|kilowatthodin|kilowatthodiny
        V m|volt|volty|voltů|voltu; Hz m|hertz|hertze|hertzů|hertzu
        kHz m|kilohertz|kilohertze|kilohertzů|kilohertzu
        MHz m|megahertz|megahertze|megahertzů|megahertzu; GHz m|gigahertz|gigahertze|gigahertzů|gigahertzu
        KB,kB m|kilobajt|kilobajty|kilobajtů|kilobajtu; MB m|megabajt|megabajty|megabajtů|megabajtu
        GB m|gigabajt|gigabajty|gigabajtů|gigabajtu
        TB m|terabajt|terabajty|terabajtů|terabajtu; h,hod. f|hodina|hodiny|hodin|hodiny
        min,min. f|minuta|minuty|minut|minuty
        sek. f|sekunda|sekundy|sekund|sekundy; ms f|milisekunda|milisekundy|milisekund|milisekundy
    """),
    second="sek.",
    months=MONTHS,
    date=_date,
    month_day=(r"(?P<day>\d{1,2})\. ?(?P<month>{months})(?: (?P<year>\d{4}))?(?!\w)",),
    time=_time,
    time_words=r" ?hod(?:in|iny|ina|\.)?(?!\w)",
    range_word=" až ",
    symbols=words("""
        & = a; + = plus; @ = zavináč; # = křížek; #1 = číslo; = = rovná se; < = menší než; > = větší než
        ≤ = nejvýše; ≥ = nejméně; ≈ = přibližně; ~ = přibližně; × = krát; ÷ = děleno
        ± = plus minus; § = paragraf; / = lomeno; ½ = jedna polovina; ¼ = jedna čtvrtina; ¾ = tři čtvrtiny
        ² = na druhou; ³ = na třetí
    """),
    addresses=words(". = tečka; @ = zavináč; / = lomítko; - = pomlčka; _ = podtržítko; : = dvojtečka; + = plus"),
    letters="á bé cé dé é ef gé há í jé ká el em en ó pé kvé er es té ú vé dvojité-vé iks ypsilon zet",
    more_letters={"Č": "čé", "Ř": "eř", "Š": "eš", "Ž": "žet"},
    titles=words("""
        Dr. = doktor; Mgr. = magistr; Ing. = inženýr; prof. = profesor; doc. = docent; p.^ = pan; pí^ = paní
        sv. = svatý; MUDr. = doktor; JUDr. = doktor
        např. = například; tj. = to jest; tzn. = to znamená; tzv. = takzvaný; mj. = mimo jiné; cca = cirka
        č.# = číslo; str.# = strana; ul. = ulice
        nám. = náměstí; tel. = telefon; max. = maximálně; popř. = popřípadě; resp. = respektive; srov. = srovnej
        viz = viz; čl.# = článek; kap.# = kapitola; stol. = století; jr. = junior
    """),
    closings=words("""
        atd. = a tak dále; apod. = a podobně; aj. = a jiné; s.r.o. = es er ó; a.s. = á es; n.l. = našeho letopočtu
        př.n.l. = před naším letopočtem; Kčs = korun československých
    """),
    plain_words=(
        "a aby ale ani až bez by být co či do ho i já jak je jen ji jí jim jsem jste k kde kdo když ke ku má "
        "mě mi mu my na nad ne nebo nic no o od on ona oni pak po pod pro při s se si sám tak tam ten to tu "
        "ty u už v ve vy z za ze že den rok dům král"
    ),
    roman=_roman,
)  # fmt: skip

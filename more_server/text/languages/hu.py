import re

from more_server.text.languages.base import Language, listed, moneys, nouns, num2words, one_form, words

MONTHS = listed("január február március április május június július augusztus szeptember október november december")
_PLACES = ("tized", "század", "ezred")


def _gender_of(noun: str) -> str:
    return "m" if noun.islower() and noun not in ("és", "vagy", "meg", "a", "az", "is", "de") else ""


def _cardinal(n: int, gender: str) -> str:
    text = num2words(n, "hu")
    # "kettő" is for counting; before a noun it is "két"
    return re.sub(r"kettő$", "két", text) if gender else text


def _ordinal(n: int, _form: str) -> str:
    return num2words(n, "hu", "ordinal")


def _decimal(whole: str, fraction: str) -> str | None:
    if len(fraction) > len(_PLACES) or len(whole) > 15 or not int(fraction):
        return None
    return f"{_cardinal(int(whole), '')} egész {_cardinal(int(fraction), 'm')} {_PLACES[len(fraction) - 1]}"


def _dotted(n: int, _before: str, after: str) -> str | None:
    return _ordinal(n, "") if after[0].islower() else None


_FIRST = "elseje"


def _day(day: int, suffix: str) -> str:
    """`5-én` is ötödikén; the suffix's own j belongs to the first of the month alone."""
    if day == 1:
        return "elsej" + suffix.removeprefix("j") if suffix[:1] in ("e", "é", "j") else _FIRST + suffix
    return _ordinal(day, "") + (suffix.lstrip("j") or _nominative(day))


def _nominative(day: int) -> str:
    stem = _ordinal(day, "")
    return "a" if re.search(r"[aáoóuú][^eéiíöőüű]*$", stem.removesuffix("ik")[:-1]) else "e"


def _date(day: int, month: int, year: int | None, _before: str) -> str:
    text = f"{MONTHS[month - 1]} {_day(day, '')}"
    return text if year is None else f"{_cardinal(year, '')} {text}"


def _time(hour: int, minute: int, _before: str) -> str:
    return f"{_cardinal(hour, 'm')} óra" + (f" {_cardinal(minute, '')}" if minute else "")


_MONTH_DAY = re.compile(
    rf"(?:(?<!\d)(\d{{4}})\. )?\b({'|'.join(MONTHS)}) (\d{{1,2}})"
    r"(?:-((?:j?[éáea])[a-záéíóöőúüű]*|i|ig|től|tól)(?!\w)|\.?(?!\d))",
    re.I,
)  # fmt: skip
_AT = re.compile(r"(?<=\d:\d\d)-kor\b")
_DATE_SUFFIX = re.compile(r"(\d{4}\. ?\d{1,2}\. ?\d{1,2})\.?-(?:[jéáean]{1,3})\b")


def _phrases(text: str) -> str:
    def month_day(m: re.Match[str]) -> str:
        day = int(m[3])
        if not 1 <= day <= 31:
            return m[0]
        year = f"{_cardinal(int(m[1]), '')} " if m[1] else ""
        suffix = m[4] or ""
        loose = suffix in ("i", "ig", "től", "tól")
        return f"{year}{m[2]} {_day(day, '') + suffix if loose else _day(day, suffix)}"

    return _AT.sub(" perckor", _MONTH_DAY.sub(month_day, _DATE_SUFFIX.sub(r"\1.", text)))


def _roman(value: int, before: str, after: str) -> str | None:
    if after:
        return _ordinal(value, "") if value > 1 or after[0].isupper() else None
    return str(value) if before.lower() in ("fejezet", "kötet", "rész") else None


LANGUAGE = Language(
    code="hu",
    names=("hungarian", "magyar", "hun"),
    character_limit=224,
    cardinal=_cardinal,
    ordinal=_ordinal,
    ordinal_marks=dict.fromkeys(listed("-dik -adik -edik -odik -ödik º"), ""),
    dotted_ordinal=_dotted,
    decimal=",",
    thousands=". ",
    point="egész",
    minus="mínusz",
    decimal_words=_decimal,
    plural=one_form,
    gender_of=_gender_of,
    currencies=moneys("""
        Ft,HUF      m|forint; m|fillér
        $,US$,USD   m|dollár; m|cent
        €,EUR       m|euró; m|cent
        £,GBP       m|font; m|penny
        ¥,JPY       m|jen
        ₹,INR       m|rúpia
        zł,PLN      m|zloty
        Kč,CZK      m|cseh korona
        ₺,TRY       m|török líra
        ₽,RUB       m|rubel
        ₩,KRW       m|von
        R$,BRL      m|reál
        CHF         m|svájci frank
        CNY         m|jüan
    """),
    magnitudes=words("""
        ezer = ezer; millió = millió; milliárd = milliárd; billió = billió; M = millió; Mrd = milliárd
    """),
    units=nouns("""
        km m|kilométer; m m|méter; cm m|centiméter; mm m|milliméter; kg m|kilogramm; g m|gramm; mg m|milligramm
        l,L m|liter; ml m|milliliter; dkg m|dekagramm
        km/h m|kilométer per óra; m/s m|méter per szekundum; °C m|Celsius-fok; °F m|Fahrenheit-fok; ° m|fok
        % m|százalék; ‰ m|ezrelék
        m² m|négyzetméter; km² m|négyzetkilométer; m³ m|köbméter; W m|watt; kW m|kilowatt; kWh m|kilowattóra
        V m|volt
        Hz m|hertz; kHz m|kilohertz; MHz m|megahertz; GHz m|gigahertz; KB,kB m|kilobájt; MB m|megabájt
        GB m|gigabájt
        TB m|terabájt
        h m|óra; min m|perc; mp m|másodperc; sec m|másodperc; ms m|ezredmásodperc
    """),
    suffixes=r"-[a-záéíóöőúüű]+",
    second="mp",
    months=MONTHS,
    date_order="ymd",
    date=_date,
    time=_time,
    phrases=_phrases,
    range_word=" ",
    symbols=words("""
        & = és; + = plusz; @ = kukac; # = kettőskereszt; #1 = szám; = = egyenlő; < = kisebb mint; > = nagyobb mint
        ≤ = legfeljebb; ≥ = legalább; ≈ = körülbelül; ~ = körülbelül; × = szor; ÷ = osztva
        ± = plusz-mínusz; § = paragrafus; / = per; ½ = fél; ¼ = negyed; ¾ = háromnegyed; ² = a négyzeten
        ³ = a köbön
    """),
    addresses=words(". = pont; @ = kukac; / = per; - = kötőjel; _ = aláhúzás; : = kettőspont; + = plusz"),
    letters="á bé cé dé é ef gé há í jé ká el em en ó pé kú er es té ú vé dupla-vé iksz ipszilon zé",
    more_letters={"Á": "á", "É": "é", "Ö": "ö", "Ő": "ő", "Ü": "ü", "Ó": "ó", "Ú": "ú", "Í": "í"},
    titles=words("""
        Dr. = doktor; Prof. = professzor; ifj. = ifjabb; id. = idősebb; Szt. = szent; pl. = például; ill. = illetve
        kb. = körülbelül; ún. = úgynevezett
        azaz = azaz; vö. = vesd össze; ld. = lásd; old. = oldal; tel. = telefon; u. = utca; krt. = körút
        max. = maximum; min.# = minimum; db = darab; sz. = század; jr. = junior
    """),
    closings=words("""
        stb. = és a többi; i.e. = időszámításunk előtt; i.sz. = időszámításunk szerint; Kft. = ká ef té
        Zrt. = zé er té; Nyrt. = en ipszilon er té; Bt. = bé té
    """),
    plain_words=(
        "a az ez azt ezt be bár ki le fel el ha hát hogy ide itt jó kell két egy egyet is én te ő mi ti ők "
        "meg mert már még most ne nem csak de és ott sem van vagy volt jön jól nő úr ma nap éj"
    ),
    roman=_roman,
)  # fmt: skip

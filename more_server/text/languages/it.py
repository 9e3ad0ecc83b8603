import re

from more_server.text.languages.base import Language, listed, moneys, nouns, num2words, words

MONTHS = listed("gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre")
_QUEENS = listed("elisabetta caterina maria vittoria cristina margherita")
_DOTTED_TIME = re.compile(r"(?:(?<=\balle )|(?<=\bore ))([01]?\d|2[0-3])\.([0-5]\d)(?![\d.,]\d|\d)")
_ONE_BEFORE_VOWEL = re.compile(r"(?<![\d.,])1 (?=[aeiou][a-zà-ù]*a\b)")
_DEGREE_ORDINAL = re.compile(r"(?<![\d.,])(\d|10)°(?=\s[a-zà-ù])")


def _gender_of(noun: str) -> str:
    """Only "1" cares: un giorno, una settimana."""
    return {"a": "f", "o": "m"}.get(noun[-1], "") if len(noun) > 2 and noun.islower() else ""


def _cardinal(n: int, gender: str) -> str:
    if n == 1 and gender:
        return "una" if gender == "f" else "un"
    # num2words contracts one vowel too many: centodicotto
    return num2words(n, "it").replace(",", "").replace("dicotto", "diciotto")


def _ordinal(n: int, form: str) -> str:
    text = num2words(n, "it", "ordinal")
    return text[:-1] + "a" if form == "f" else text


def _date(day: int, month: int, year: int | None, _before: str) -> str:
    text = f"{'primo' if day == 1 else _cardinal(day, '')} {MONTHS[month - 1]}"
    return text if year is None else f"{text} {_cardinal(year, '')}"


def _time(hour: int, minute: int, _before: str) -> str:
    text = "una" if hour == 1 else _cardinal(hour, "")
    return f"{text} e {_cardinal(minute, '')}" if minute else text


def _phrases(text: str) -> str:
    # "1° piano" is an ordinal, "36°" and "5 °C" are temperatures
    text = _ONE_BEFORE_VOWEL.sub("un'", text)
    return _DOTTED_TIME.sub(r"\1:\2", _DEGREE_ORDINAL.sub(r"\1º", text))


def _roman(value: int, before: str, after: str) -> str | None:
    name = before.lower()
    if name in listed("capitolo tomo volume atto parte libro titolo fase tipo livello articolo"):
        return str(value)
    if after.lower() == "secolo" or name in ("secolo", "secoli"):
        return _ordinal(value, "")
    if after in ("guerra", "Guerra"):
        return _ordinal(value, "f")
    if not before[:1].isupper() or value == 1:
        return None
    return _ordinal(value, "f" if name in _QUEENS else "")


LANGUAGE = Language(
    code="it",
    names=("italian", "italiano", "ita"),
    character_limit=213,
    cardinal=_cardinal,
    ordinal=_ordinal,
    ordinal_marks={"º": "", "ª": "f", "°": ""},
    decimal=",",
    thousands=".",
    point="virgola",
    minus="meno",
    fraction_as_number=True,
    gender_of=_gender_of,
    currencies=moneys("""
        $,US$,USD   m|dollaro|dollari; m|centesimo|centesimi
        €,EUR       m|euro; m|centesimo|centesimi
        £,GBP       f|sterlina|sterline; m|penny|pence
        ¥,JPY       m|yen
        ₹,INR       f|rupia|rupie
        zł,PLN      m|zloty
        Kč,CZK      f|corona ceca|corone ceche
        Ft,HUF      m|fiorino ungherese|fiorini ungheresi
        ₺,TRY       f|lira turca|lire turche
        ₽,RUB       m|rublo|rubli
        ₩,KRW       m|won
        R$,BRL      m|real|reais; m|centavo|centavos
        CHF         m|franco svizzero|franchi svizzeri; m|centesimo|centesimi
        CNY         m|yuan
    """),
    money_and=" e ",
    magnitudes=words("""
        milione = m|milione; milioni = m|milioni; miliardo = m|miliardo; miliardi = m|miliardi
        mln = m|milione|milioni
        mld = m|miliardo|miliardi
    """),
    magnitude_link="di {}".format,
    units=nouns("""
        km m|chilometro|chilometri; m m|metro|metri; cm m|centimetro|centimetri; mm m|millimetro|millimetri
        kg m|chilogrammo|chilogrammi; g m|grammo|grammi; mg m|milligrammo|milligrammi; l,L m|litro|litri
        ml m|millilitro|millilitri
        km/h m|chilometro orario|chilometri orari; m/s m|metro al secondo|metri al secondo
        °C m|grado Celsius|gradi Celsius; °F m|grado Fahrenheit|gradi Fahrenheit; ° m|grado|gradi; % m|per cento
        ‰ m|per mille
        m²,mq m|metro quadrato|metri quadrati; km² m|chilometro quadrato|chilometri quadrati
        m³ m|metro cubo|metri cubi
        W m|watt; kW m|kilowatt; kWh m|kilowattora; V m|volt; Hz m|hertz; kHz m|kilohertz; MHz m|megahertz
        GHz m|gigahertz
        KB,kB m|kilobyte; MB m|megabyte; GB m|gigabyte; TB m|terabyte
        h f|ora|ore; min m|minuto|minuti; s m|secondo|secondi; ms m|millisecondo|millisecondi
    """),
    months=MONTHS,
    date=_date,
    month_day=(r"(?P<day>\d{1,2})[º°]? (?P<month>{months})(?: (?P<year>\d{4}))?(?!\w)",),
    time=_time,
    phrases=_phrases,
    range_word=" a ",
    symbols=words("""
        & = e; + = più; @ = chiocciola; # = cancelletto; #1 = numero; = = uguale a; < = minore di; > = maggiore di
        ≤ = minore o uguale a; ≥ = maggiore o uguale a; ≈ = circa; ~ = circa; × = per; ÷ = diviso
        ± = più o meno; § = paragrafo; / = su; ½ = un mezzo; ¼ = un quarto; ¾ = tre quarti; ² = al quadrato
        ³ = al cubo
    """),
    addresses=words("""
        . = punto; @ = chiocciola; / = barra; - = trattino; _ = trattino basso; : = due punti; + = più
    """),
    letters=(
        "a bi ci di e effe gi acca i i-lunga kappa elle emme enne o pi cu erre esse ti u vu doppia-vu ics "
        "ipsilon zeta"
    ),
    titles=words("""
        Sig. = signor; Sig.ra = signora; Sig.na = signorina; Sigg. = signori; Dr. = dottor; Dott. = dottor
        Dott.ssa = dottoressa
        Prof. = professor; Prof.ssa = professoressa; Ing. = ingegner; Avv. = avvocato; On. = onorevole; St. = santo
        S.^ = san
        ad es. = ad esempio; p.es. = per esempio; es.# = esempio; cfr. = confronta; pag. = pagina; pagg. = pagine
        n.# = numero
        tel. = telefono; ca. = circa; art.# = articolo; cap.# = capitolo; fig.# = figura; vs. = contro; Jr. = junior
        c.a. = circa
    """),
    closings=words("""
        ecc. = eccetera; etc. = eccetera; S.p.A. = esse pi a; SpA = esse pi a; S.r.l. = esse erre elle
        Co. = compagnia; Ltd. = limitata; a.C. = avanti Cristo; d.C. = dopo Cristo
    """),
    plain_words=(
        "onu rai a ad al alla che chi ci come con così da dal dei del di e ed è fa fu gli ha hai hanno ho i "
        "il in io la le lei li lo lui ma me mi mio ne no noi non o per più poi qui se sei si sì sia sono su "
        "sul te ti tu tua tuo un una uno va vi voi oggi mai due tre"
    ),
    roman=_roman,
)  # fmt: skip

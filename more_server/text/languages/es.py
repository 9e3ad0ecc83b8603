import re

from more_server.text.languages.base import Language, listed, moneys, nouns, num2words, words

MONTHS = listed("enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre")
_QUEENS = "isabel juana cristina catalina maría victoria margarita"


_MASCULINE_IN_A = listed(
    "día días problema problemas sistema sistemas tema temas "
    "programa programas mapa mapas planeta planetas idioma idiomas para a la las"
)


def _gender_of(noun: str) -> str:
    if noun.endswith(("a", "as")) or noun in ("vez", "veces", "mujeres", "horas"):
        return "m" if noun in _MASCULINE_IN_A else "f"
    return "m" if noun.endswith(("os", "es", "año", "libro")) else ""


def _cardinal(n: int, gender: str) -> str:
    text = num2words(n, "es").replace("veintiuno mil", "veintiún mil").replace("uno mil", "un mil")
    if gender == "m":
        return re.sub(r"uno$", "un", re.sub(r"veintiuno$", "veintiún", text))
    if gender == "f":
        return re.sub(r"uno$", "una", text).replace("ientos", "ientas").replace("quinientos", "quinientas")
    return text


def _ordinal(n: int, form: str) -> str:
    text = {11: "undécimo", 12: "duodécimo"}.get(n) or num2words(n, "es", "ordinal")
    if form == "er":
        return re.sub(r"(primer|tercer)o$", r"\1", text)
    return re.sub(r"o\b", "a", text) if form == "f" else text


def _date(day: int, month: int, year: int | None, _before: str) -> str:
    text = f"{_cardinal(day, '')} de {MONTHS[month - 1]}"
    return text if year is None else f"{text} de {_cardinal(year, '')}"


def _time(hour: int, minute: int, _before: str) -> str:
    if not minute:
        return f"{_cardinal(hour, 'f')} en punto"
    return f"{_cardinal(hour, 'f')} {'cero ' if minute < 10 else ''}{_cardinal(minute, '')}"


def _roman(value: int, before: str, _after: str) -> str | None:
    name = before.lower()
    if name in listed("siglo siglos capítulo tomo volumen acto parte título fase tipo nivel mundial"):
        return str(value)
    if not before[:1].isupper() or (value == 1 and name != "carlos"):
        return None
    return _ordinal(value, "f" if name in _QUEENS.split() else "") if value <= 10 else str(value)


LANGUAGE = Language(
    code="es",
    names=("spanish", "español", "castellano", "spa"),
    character_limit=239,
    cardinal=_cardinal,
    ordinal=_ordinal,
    ordinal_marks={
        "º": "", ".º": "", "ª": "f", ".ª": "f", "er": "er", ".er": "er", "ro": "", "ra": "f", "do": "", "da": "f",
        "to": "", "ta": "f", "mo": "", "ma": "f", "vo": "", "va": "f",
    },
    decimal=",",
    thousands=".",
    point="coma",
    minus="menos",
    fraction_as_number=True,
    gender_of=_gender_of,
    currencies=moneys("""
        $,US$,USD   m|dólar|dólares; m|centavo|centavos
        €,EUR       m|euro|euros; m|céntimo|céntimos
        £,GBP       f|libra|libras; m|penique|peniques
        ¥,JPY       m|yen|yenes
        ₹,INR       f|rupia|rupias
        zł,PLN      m|esloti|eslotis
        Kč,CZK      f|corona checa|coronas checas
        Ft,HUF      m|forinto|forintos
        ₺,TRY       f|lira|liras
        ₽,RUB       m|rublo|rublos
        ₩,KRW       m|won|wones
        R$,BRL      m|real|reales; m|centavo|centavos
        CHF         m|franco suizo|francos suizos; m|céntimo|céntimos
        MXN         m|peso|pesos; m|centavo|centavos
        CNY         m|yuan|yuanes
    """),
    money_and=" con ",
    magnitudes=words("""
        millón = m|millón; millones = m|millones; M = m|millón|millones; mil millones = mil millones
        billones = m|billones
    """),
    magnitude_link="de {}".format,
    units=nouns("""
        km m|kilómetro|kilómetros; m m|metro|metros; cm m|centímetro|centímetros; mm m|milímetro|milímetros
        kg m|kilogramo|kilogramos; g m|gramo|gramos; mg m|miligramo|miligramos; l,L m|litro|litros
        ml m|mililitro|mililitros
        km/h m|kilómetro por hora|kilómetros por hora; m/s m|metro por segundo|metros por segundo
        °C m|grado Celsius|grados Celsius; °F m|grado Fahrenheit|grados Fahrenheit; ° m|grado|grados
        % m|por ciento; ‰ m|por mil
        m² m|metro cuadrado|metros cuadrados; km² m|kilómetro cuadrado|kilómetros cuadrados
        m³ m|metro cúbico|metros cúbicos
        W m|vatio|vatios; kW m|kilovatio|kilovatios; kWh m|kilovatio hora|kilovatios hora; V m|voltio|voltios
        Hz m|hercio|hercios; kHz m|kilohercio|kilohercios; MHz m|megahercio|megahercios
        GHz m|gigahercio|gigahercios
        KB,kB m|kilobyte|kilobytes; MB m|megabyte|megabytes; GB m|gigabyte|gigabytes; TB m|terabyte|terabytes
        h f|hora|horas; min m|minuto|minutos; s m|segundo|segundos; ms m|milisegundo|milisegundos
    """),
    months=MONTHS,
    date=_date,
    time=_time,
    time_words=r" ?(?:horas|hrs?\.?|h\b\.?)",
    range_word=" a ",
    symbols=words("""
        & = y; + = más; @ = arroba; # = almohadilla; #1 = número; = = igual a; < = menor que; > = mayor que
        ≤ = menor o igual que; ≥ = mayor o igual que; ≈ = aproximadamente; ~ = unos; × = por; ÷ = dividido por
        ± = más o menos; § = sección; / = sobre; ½ = medio; ¼ = un cuarto; ¾ = tres cuartos; ² = al cuadrado
        ³ = al cubo
    """),
    addresses=words(". = punto; @ = arroba; / = barra; - = guion; _ = guion bajo; : = dos puntos; + = más"),
    letters="a be ce de e efe ge hache i jota ka ele eme ene o pe cu erre ese te u uve uve-doble equis i-griega zeta",
    more_letters={"Ñ": "eñe"},
    titles=words("""
        Sr. = señor; Sra. = señora; Srta. = señorita; Sres. = señores; Dr. = doctor; Dra. = doctora; Dña. = doña
        D.^ = don
        Ud. = usted; Uds. = ustedes; Vd. = usted; Prof. = profesor; St. = santo; Sto. = santo; Sta. = santa
        Lic. = licenciado
        Ing. = ingeniero; Gral. = general; p. ej. = por ejemplo; p.ej. = por ejemplo; pág. = página; págs. = páginas
        núm. = número
        n.º = número; nº = número; tel. = teléfono; aprox. = aproximadamente; Av. = avenida; Avda. = avenida
        art.# = artículo
        vs. = contra; cap.# = capítulo; EE. UU. = Estados Unidos; EE.UU. = Estados Unidos; Jr. = júnior
    """),
    closings=words("""
        etc. = etcétera; Cía. = compañía; Co. = compañía; Ltd. = limitada; Ltda. = limitada; S.A. = ese a
        a.C. = antes de Cristo; d.C. = después de Cristo
    """),
    plain_words=(
        "onu ong ovni sida a al de del el en es la las le lo los me mi mis no o para pero por que se si sí su "
        "sus te tu tus un una uno y ya yo muy más con sin hoy qué ni hay fin dos tres oro luz paz sol mar"
    ),
    roman=_roman,
)  # fmt: skip

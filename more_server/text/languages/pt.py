import re

from more_server.text.languages.base import Language, listed, moneys, nouns, num2words, words

MONTHS = listed("janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro")
_QUEENS = listed("maria isabel elizabeth catarina vitória margarida")


_MASCULINE_IN_A = listed(
    "dia dias problema problemas sistema sistemas tema temas "
    "programa programas mapa mapas planeta planetas idioma idiomas para a da na"
)


def _gender_of(noun: str) -> str:
    if noun in _MASCULINE_IN_A:
        return ""
    return "f" if noun.endswith(("a", "as", "ções", "dades", "gens", "vez", "vezes", "mulheres")) else ""


def _cardinal(n: int, gender: str) -> str:
    # Brazil's short scale: most of XTTS's Portuguese is Brazilian
    text = num2words(n, "pt_BR").replace(",", "")
    if gender != "f":
        return text
    text = re.sub(r"\bum$", "uma", re.sub(r"\bdois$", "duas", text))
    return re.sub(r"entos\b", "entas", text)


def _ordinal(n: int, form: str) -> str:
    text = num2words(n, "pt", "ordinal")
    return re.sub(r"o\b", "a", text) if form == "f" else text


def _date(day: int, month: int, year: int | None, _before: str) -> str:
    text = f"{'primeiro' if day == 1 else _cardinal(day, '')} de {MONTHS[month - 1]}"
    return text if year is None else f"{text} de {_cardinal(year, '')}"


def _time(hour: int, minute: int, _before: str) -> str:
    spelt = _cardinal(hour, "f")
    return f"{spelt} e {_cardinal(minute, '')}" if minute else f"{spelt} hora{'s' if hour > 1 else ''}"


def _roman(value: int, before: str, _after: str) -> str | None:
    name = before.lower()
    if name in listed("século séculos capítulo tomo volume ato parte título fase tipo nível artigo mundial"):
        return str(value)
    if not before[:1].isupper() or (value == 1 and name not in ("pedro", "joão")):
        return None
    return _ordinal(value, "f" if name in _QUEENS else "") if value <= 10 else str(value)


LANGUAGE = Language(
    code="pt",
    names=("portuguese", "português", "por", "brazilian portuguese"),
    character_limit=203,
    cardinal=_cardinal,
    ordinal=_ordinal,
    ordinal_marks={"º": "", ".º": "", "ª": "f", ".ª": "f", "°": ""},
    decimal=",",
    thousands=".",
    point="vírgula",
    minus="menos",
    fraction_as_number=True,
    gender_of=_gender_of,
    currencies=moneys("""
        $,US$,USD   m|dólar|dólares; m|centavo|centavos
        €,EUR       m|euro|euros; m|centavo|centavos
        £,GBP       f|libra|libras; m|pêni|pence
        ¥,JPY       m|iene|ienes
        ₹,INR       f|rupia|rupias
        zł,PLN      m|zloty|zlotys
        Kč,CZK      f|coroa tcheca|coroas tchecas
        Ft,HUF      m|forint|forints
        ₺,TRY       f|lira|liras
        ₽,RUB       m|rublo|rublos
        ₩,KRW       m|won|wons
        R$,BRL      m|real|reais; m|centavo|centavos
        CHF         m|franco suíço|francos suíços; m|cêntimo|cêntimos
        CNY         m|yuan|yuans
    """),
    money_and=" e ",
    magnitudes=words("""
        milhão = m|milhão; milhões = m|milhões; bilhão = m|bilhão; bilhões = m|bilhões; mi = m|milhão|milhões
        bi = m|bilhão|bilhões; trilhões = m|trilhões
    """),
    magnitude_link="de {}".format,
    units=nouns("""
        km m|quilômetro|quilômetros; m m|metro|metros; cm m|centímetro|centímetros; mm m|milímetro|milímetros
        kg m|quilograma|quilogramas; g m|grama|gramas; mg m|miligrama|miligramas; l,L m|litro|litros
        ml m|mililitro|mililitros
        km/h m|quilômetro por hora|quilômetros por hora; m/s m|metro por segundo|metros por segundo
        °C m|grau Celsius|graus Celsius; °F m|grau Fahrenheit|graus Fahrenheit; ° m|grau|graus; % m|por cento
        ‰ m|por mil
        m² m|metro quadrado|metros quadrados; km² m|quilômetro quadrado|quilômetros quadrados
        m³ m|metro cúbico|metros cúbicos
        W m|watt|watts; kW m|quilowatt|quilowatts; kWh m|quilowatt-hora|quilowatts-hora; V m|volt|volts
        Hz m|hertz; kHz m|quilohertz; MHz m|megahertz; GHz m|gigahertz
        KB,kB m|kilobyte|kilobytes; MB m|megabyte|megabytes; GB m|gigabyte|gigabytes; TB m|terabyte|terabytes
        h f|hora|horas; min m|minuto|minutos; s m|segundo|segundos; ms m|milissegundo|milissegundos
    """),
    months=MONTHS,
    date=_date,
    month_day=(r"(?P<day>\d{1,2})º? de (?P<month>{months})(?: de (?P<year>\d{4}))?(?!\w)",),
    time=_time,
    time_words=r" ?(?:horas?|h)(?!\w)",
    hour_letter=True,
    range_word=" a ",
    symbols=words("""
        & = e; + = mais; @ = arroba; # = cerquilha; #1 = número; = = igual a; < = menor que; > = maior que
        ≤ = menor ou igual a; ≥ = maior ou igual a; ≈ = aproximadamente; ~ = cerca de; × = vezes; ÷ = dividido por
        ± = mais ou menos; § = parágrafo; / = sobre; ½ = meio; ¼ = um quarto; ¾ = três quartos; ² = ao quadrado
        ³ = ao cubo
    """),
    addresses=words(". = ponto; @ = arroba; / = barra; - = hífen; _ = sublinhado; : = dois pontos; + = mais"),
    letters="a bê cê dê é efe gê agá i jota cá ele eme ene ó pê quê erre esse tê u vê dáblio xis ípsilon zê",
    titles=words("""
        Sr. = senhor; Sra. = senhora; Srta. = senhorita; Srs. = senhores; Dr. = doutor; Dra. = doutora
        Prof. = professor; Profa. = professora
        Eng. = engenheiro; D.^ = dom; St. = santo; Sto. = santo; Sta. = santa; Exmo. = excelentíssimo
        V.Exa. = vossa excelência
        p. ex. = por exemplo; p.ex. = por exemplo; ex.: = exemplo:; pág. = página; págs. = páginas; nº = número
        n.º = número; n° = número
        tel. = telefone; aprox. = aproximadamente; Av. = avenida; R.^ = rua; art.# = artigo; cap.# = capítulo
        vs. = contra; Jr. = júnior
    """),
    closings=words("""
        etc. = etcétera; Cia. = companhia; Co. = companhia; Ltda. = limitada; Ltd. = limitada; S.A. = esse a
        a.C. = antes de Cristo; d.C. = depois de Cristo
    """),
    plain_words=(
        "onu ong ovni sida a ao as com como da das de dele do dos e é ela ele em era essa esse eu foi há já "
        "lá mais mas me meu na nas não nem no nos nós o os ou para pela pelo por que quem se sem ser seu só "
        "sua são tem um uma vai você oi bom boa dia fim rei mar sol luz paz"
    ),
    roman=_roman,
)  # fmt: skip

import re

from more_server.text.languages.base import Language, listed, moneys, nouns, num2words, words

MONTHS = listed("janvier février mars avril mai juin juillet août septembre octobre novembre décembre")


_FEMININE = listed("tion té ée ence ance ette esse ure ie aine heure minute seconde personne année page")


def _gender_of(noun: str) -> str:
    """Only "1" cares: une fois, une semaine."""
    return "f" if noun.rstrip("s").endswith(_FEMININE) or noun == "fois" else ""


def _cardinal(n: int, gender: str) -> str:
    text = num2words(n, "fr")
    return re.sub(r"(?<![a-z])un$", "une", text) if gender == "f" else text


def _ordinal(n: int, form: str) -> str:
    if form in ("second", "seconde") and n == 2:
        return form
    if n == 1:
        return "première" if form == "f" else "premier"
    return num2words(n, "fr", "ordinal")


def _date(day: int, month: int, year: int | None, _before: str) -> str:
    text = f"{'premier' if day == 1 else _cardinal(day, '')} {MONTHS[month - 1]}"
    return text if year is None else f"{text} {_cardinal(year, '')}"


def _time(hour: int, minute: int, _before: str) -> str:
    text = f"{_cardinal(hour, 'f')} heure{'s' if hour > 1 else ''}"
    return f"{text} {_cardinal(minute, 'f')}" if minute else text


def _roman(value: int, before: str, _after: str) -> str | None:
    chapters = listed("chapitre tome volume acte partie livre titre phase type niveau siècle mondiale article")
    if before.lower() in chapters:
        return str(value)
    if not before[:1].isupper():
        return None
    if value == 1:
        return "premier" if before in ("François", "Napoléon", "Charles", "Nicolas", "Philippe") else None
    return str(value)


def _of(name: str) -> str:
    return f"d'{name}" if name[0] in "aeiou" else f"de {name}"


LANGUAGE = Language(
    code="fr",
    names=("french", "français", "fra"),
    character_limit=273,
    cardinal=_cardinal,
    ordinal=_ordinal,
    ordinal_marks={
        "er": "", "re": "f", "ère": "f", "e": "", "è": "", "ème": "",
        "eme": "", "ième": "", "nd": "second", "nde": "seconde", "º": "", "ª": "f",
    },
    decimal=",",
    thousands=". ",
    point="virgule",
    minus="moins",
    fraction_as_number=True,
    plural=lambda n: 0 if n < 2 else 1,
    fraction_form=None,
    gender_of=_gender_of,
    currencies=moneys("""
        $,US$,USD   m|dollar|dollars; m|cent|cents
        €,EUR       m|euro|euros; m|centime|centimes
        £,GBP       f|livre|livres; m|penny|pence
        ¥,JPY       m|yen|yens
        ₹,INR       f|roupie|roupies
        zł,PLN      m|zloty|zlotys
        Kč,CZK      f|couronne tchèque|couronnes tchèques
        Ft,HUF      m|forint|forints
        ₺,TRY       f|livre turque|livres turques
        ₽,RUB       m|rouble|roubles
        ₩,KRW       m|won|wons
        R$,BRL      m|réal|réaux; m|centavo|centavos
        CHF         m|franc suisse|francs suisses; m|centime|centimes
        CAD         m|dollar canadien|dollars canadiens; m|cent|cents
        CNY         m|yuan|yuans
    """),
    money_and=" et ",
    magnitudes=words("""
        million = m|million; millions = m|millions; milliard = m|milliard; milliards = m|milliards
        M = m|million|millions
        Md = m|milliard|milliards; Mds = m|milliard|milliards
    """),
    magnitude_link=_of,
    units=nouns("""
        km m|kilomètre|kilomètres; m m|mètre|mètres; cm m|centimètre|centimètres; mm m|millimètre|millimètres
        kg m|kilogramme|kilogrammes; g m|gramme|grammes; mg m|milligramme|milligrammes; l,L m|litre|litres
        ml,mL m|millilitre|millilitres
        km/h m|kilomètre heure|kilomètres heure; m/s m|mètre par seconde|mètres par seconde
        °C m|degré Celsius|degrés Celsius; °F m|degré Fahrenheit|degrés Fahrenheit; ° m|degré|degrés
        % m|pour cent; ‰ m|pour mille
        m² m|mètre carré|mètres carrés; km² m|kilomètre carré|kilomètres carrés; m³ m|mètre cube|mètres cubes
        W m|watt|watts; kW m|kilowatt|kilowatts; kWh m|kilowattheure|kilowattheures; V m|volt|volts
        Hz m|hertz; kHz m|kilohertz; MHz m|mégahertz; GHz m|gigahertz
        Ko,ko,KB m|kilooctet|kilooctets; Mo,MB m|mégaoctet|mégaoctets; Go,GB m|gigaoctet|gigaoctets
        To,TB m|téraoctet|téraoctets
        h f|heure|heures; min f|minute|minutes; mn f|minute|minutes; s f|seconde|secondes
        ms f|milliseconde|millisecondes
    """),
    months=MONTHS,
    date=_date,
    month_day=(r"(?P<day>\d{1,2})(?:er)? (?P<month>{months})(?: (?P<year>\d{4}))?(?!\w)",),
    time=_time,
    time_words=r" ?heures?(?!\w)",
    hour_letter=True,
    range_word=" à ",
    symbols=words("""
        & = et; + = plus; @ = arobase; # = dièse; #1 = numéro; = = égale; < = inférieur à; > = supérieur à
        ≤ = inférieur ou égal à; ≥ = supérieur ou égal à; ≈ = environ; ~ = environ; × = fois; ÷ = divisé par
        ± = plus ou moins; § = paragraphe; / = sur; ½ = un demi; ¼ = un quart; ¾ = trois quarts; ² = au carré
        ³ = au cube
    """),
    addresses=words(". = point; @ = arobase; / = slash; - = tiret; _ = tiret bas; : = deux points; + = plus"),
    letters="a bé cé dé e effe gé hache i ji ka elle emme enne o pé ku erre esse té u vé double-vé ixe i-grec zède",
    titles=words("""
        M.^ = monsieur; Mr. = monsieur; Mr^ = monsieur; MM.^ = messieurs; Mme. = madame; Mme^ = madame
        Mmes = mesdames; Mlle. = mademoiselle
        Mlle^ = mademoiselle; Dr. = docteur; Dr^ = docteur; Pr.^ = professeur; Me^ = maître; St. = saint
        St-^ = saint
        Ste. = sainte
        p. ex. = par exemple; p.ex. = par exemple; c.-à-d. = c'est-à-dire; cf. = voir; env. = environ; n° = numéro
        nº = numéro; N° = numéro
        p.# = page; pp.# = pages; art.# = article; chap.# = chapitre; tél. = téléphone
        av. J.-C. = avant Jésus-Christ
        apr. J.-C. = après Jésus-Christ; bd^ = boulevard; Jr. = junior; vs. = contre
    """),
    closings=words("etc. = et cetera; Cie. = compagnie; Co. = compagnie; Ltd. = limitée"),
    plain_words=(
        "onu ong ovni sida à au aux ce ces de des du elle en est et il ils je la le les leur lui ma mais me "
        "mes moi mon ne nos non nous on ont ou où oui par pas pour qui que sa se ses si son sur ta te tes toi "
        "ton tu un une va vos vous y très sans avec tout fin jour nuit"
    ),
    roman=_roman,
)  # fmt: skip

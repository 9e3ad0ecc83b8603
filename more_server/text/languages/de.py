import re

from more_server.text.languages.base import Language, listed, moneys, nouns, num2words, words

MONTHS = listed("Januar Februar März April Mai Juni Juli August September Oktober November Dezember")
_OBLIQUE = listed("am vom zum im beim den dem des seit ab bis zur vorm nach einer einem einen")
_WEAK = listed("der die das diese dieser dieses jede jeder jedes welche")
_STRONG = listed("ein kein mein dein sein ihr unser")
_RULERS = listed(
    "alexander august benedikt franz friedrich georg gregor heinrich innozenz johannes josef joseph karl "
    "katharina leo leopold ludwig maximilian nikolaus otto paul peter philipp pius rudolf wilhelm elisabeth"
)


_FEMININE_ENDINGS = ("e", "ung", "heit", "keit", "ion", "tät", "schaft", "ei", "ur")


def _gender_of(noun: str) -> str:
    """Only "1" cares: ein Jahr, eine Woche; nouns are the words with a capital."""
    if not noun[0].isupper() or noun.isupper():
        return ""
    return "f" if noun.endswith(_FEMININE_ENDINGS) else "m"


def _cardinal(n: int, gender: str) -> str:
    text = num2words(n, "de")
    if gender and text.endswith("eins"):
        return text[:-1] + ("e" if gender == "f" else "")
    return text


def _ordinal(n: int, ending: str) -> str:
    return num2words(n, "de", "ordinal") + ending


def _ending(before: str) -> str:
    word = before.lower()
    return "n" if word in _OBLIQUE else "" if word in _WEAK else "r"


def _dotted(n: int, before: str, after: str) -> str | None:
    word = before.lower()
    if word in _OBLIQUE or word in _WEAK or word in _STRONG or after in MONTHS or not before:
        return _ordinal(n, _ending(before))
    return _ordinal(n, "") if after[0].islower() else None


def _year(n: int) -> str:
    return num2words(n, "de", "year") if 1100 <= n <= 1999 else _cardinal(n, "")


_DECADE = re.compile(r"(?<![\d.,])(\d{2,4})er(?=n?\b)")
_SHORT_DATE = re.compile(r"\b(am|vom|zum|bis|ab|seit|dem|den) (\d{1,2})\. ?(1[0-2]|0?[1-9])\.(?! ?\d)", re.I)
_NO_CENTS = re.compile(r"(?<=\d),[-–]+")


def _phrases(text: str) -> str:
    text = _SHORT_DATE.sub(lambda m: f"{m[1]} {m[2]}. {MONTHS[int(m[3]) - 1]}", text)
    return _NO_CENTS.sub("", _DECADE.sub(lambda m: f"{_year(int(m[1]))}er", text))


def _date(day: int, month: int, year: int | None, before: str) -> str:
    text = f"{_ordinal(day, _ending(before))} {MONTHS[month - 1]}"
    return text if year is None else f"{text} {_year(year)}"


def _time(hour: int, minute: int, _before: str) -> str:
    return f"{_cardinal(hour, 'n')} Uhr" + (f" {_cardinal(minute, '')}" if minute else "")


def _roman(value: int, before: str, after: str) -> str | None:
    name = before.lower()
    if name in _RULERS:
        article = "die" if name in ("katharina", "elisabeth") else "der"
        return f"{article} {_ordinal(value, '').capitalize()}"
    chapters = listed("kapitel band teil akt artikel klasse stufe typ phase version abschnitt")
    return str(value) if name in chapters or after in ("Weltkrieg", "Weltkriegs", "Weltkrieges") else None


LANGUAGE = Language(
    code="de",
    names=("german", "deutsch", "deu", "ger"),
    character_limit=253,
    cardinal=_cardinal,
    ordinal=_ordinal,
    ordinal_marks={"te": "", "ter": "r", "ten": "n", "ste": "", "ster": "r", "sten": "n", "º": "", "ª": ""},
    dotted_ordinal=_dotted,
    decimal=",",
    thousands=".",
    point="Komma",
    minus="minus",
    gender_of=_gender_of,
    currencies=moneys("""
        $,US$,USD   m|Dollar; m|Cent
        €,EUR       m|Euro; m|Cent
        £,GBP       n|Pfund; m|Penny|Pence
        ¥,JPY       m|Yen
        ₹,INR       f|Rupie|Rupien
        zł,PLN      m|Zloty
        Kč,CZK      f|Tschechische Krone|Tschechische Kronen
        Ft,HUF      m|Forint
        ₺,TRY       f|Lira
        ₽,RUB       m|Rubel; f|Kopeke|Kopeken
        ₩,KRW       m|Won
        R$,BRL      m|Real; m|Centavo|Centavos
        CHF         m|Schweizer Franken; m|Rappen
        CNY         m|Yuan
    """),
    money_and=" und ",
    magnitudes=words("""
        Million = f|Million; Millionen = f|Millionen; Milliarde = f|Milliarde; Milliarden = f|Milliarden
        Mio. = f|Million|Millionen
        Mrd. = f|Milliarde|Milliarden; Mio = f|Million|Millionen; Mrd = f|Milliarde|Milliarden
        Billionen = f|Billionen; Tsd. = n|Tausend
    """),
    units=nouns("""
        km m|Kilometer; m m|Meter; cm m|Zentimeter; mm m|Millimeter; kg n|Kilogramm; g n|Gramm; mg n|Milligramm
        t f|Tonne|Tonnen
        l,L m|Liter; ml m|Milliliter; km/h m|Kilometer pro Stunde; m/s m|Meter pro Sekunde
        °C n|Grad Celsius; °F n|Grad Fahrenheit; ° n|Grad; % n|Prozent; ‰ n|Promille
        m²,qm m|Quadratmeter; km² m|Quadratkilometer; m³ m|Kubikmeter
        W n|Watt; kW n|Kilowatt; kWh f|Kilowattstunde|Kilowattstunden; V n|Volt; Hz n|Hertz; kHz n|Kilohertz
        MHz n|Megahertz; GHz n|Gigahertz
        KB,kB n|Kilobyte; MB n|Megabyte; GB n|Gigabyte; TB n|Terabyte; Mbit/s n|Megabit pro Sekunde
        h,Std. f|Stunde|Stunden; min,Min. f|Minute|Minuten; s,Sek. f|Sekunde|Sekunden
        ms f|Millisekunde|Millisekunden
    """),
    months=MONTHS,
    date=_date,
    month_day=(r"(?P<day>\d{1,2})\. ?(?P<month>{months})(?: (?P<year>\d{4}))?(?!\w)",),
    time=_time,
    time_words=r" ?Uhr(?!\w)",
    year=_year,
    phrases=_phrases,
    range_word=" bis ",
    symbols=words("""
        & = und; + = plus; @ = at; # = Raute; #1 = Nummer; = = gleich; < = kleiner als; > = größer als
        ≤ = höchstens; ≥ = mindestens; ≈ = ungefähr; ~ = ungefähr; × = mal; ÷ = geteilt durch
        ± = plus minus; § = Paragraph; / = durch; ½ = einhalb; ¼ = ein Viertel; ¾ = drei Viertel; ² = hoch zwei
        ³ = hoch drei
    """),
    addresses=words("""
        . = Punkt; @ = at; / = Schrägstrich; - = Bindestrich; _ = Unterstrich; : = Doppelpunkt; + = plus
    """),
    letters="a be ze de e eff ge ha i jott ka ell emm enn o pe ku err ess te u vau we iks üpsilon zett",
    more_letters={"Ä": "ä", "Ö": "ö", "Ü": "ü"},
    titles=words("""
        Dr. = Doktor; Prof. = Professor; Hr. = Herr; Hrn. = Herrn; Fr.^ = Frau; St. = Sankt
        Dipl.-Ing. = Diplom-Ingenieur
        z.B. = zum Beispiel; d.h. = das heißt; u.a. = unter anderem; z.T. = zum Teil; i.d.R. = in der Regel
        o.ä. = oder ähnliches
        bzw. = beziehungsweise; ca. = circa; evtl. = eventuell; ggf. = gegebenenfalls; inkl. = inklusive
        exkl. = exklusive; vgl. = vergleiche
        Nr. = Nummer; S.# = Seite; Abb. = Abbildung; Bd.# = Band; Kap.# = Kapitel; Tel. = Telefon; Art.# = Artikel
        Abs.# = Absatz
        v.a. = vor allem; sog. = sogenannte; max. = maximal; min.# = mindestens; zzgl. = zuzüglich
        bspw. = beispielsweise; geb. = geboren
        u.U. = unter Umständen
        z.Zt. = zurzeit; z.Z. = zurzeit; m.E. = meines Erachtens; v.Chr. = vor Christus; n.Chr. = nach Christus
        Jh. = Jahrhundert; vs. = gegen
        Co. = Co; Jr. = junior
    """),
    closings=words("""
        usw. = und so weiter; etc. = et cetera; Str. = Straße; u.s.w. = und so weiter; o.Ä. = oder Ähnliches
        GmbH = ge emm be ha
    """),
    plain_words=(
        "ab am an auf aus bei da das dem den der des die du ein er es für hat ich ihr im in ist ja man mit "
        "nach nein nie nicht nur ob oder sie sind so um und uns vom von vor war was weg wer wie wir wo zu zum "
        "zur alle gut neu tag"
    ),
    roman=_roman,
)  # fmt: skip

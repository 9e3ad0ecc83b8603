import re

from more_server.text.languages.base import Language, listed, moneys, nouns, num2words, words

_CHAPTERS = (
    "act article book chapter class figure grade level mark part phase section stage table type version volume war"
)
_RULERS = (
    "alexander benedict catherine charles edward elizabeth francis frederick george gregory henry innocent ivan james "
    "john leo louis ludwig mary napoleon nicholas otto paul peter philip pius richard urban wilhelm william"
)


def _cardinal(n: int, _gender: str) -> str:
    # num2words' commas would be heard as pauses
    return num2words(n, "en").replace(",", "")


def _ordinal(n: int, _form: str) -> str:
    return num2words(n, "en", "ordinal").replace(",", "")


def _year(n: int) -> str:
    return num2words(n, "en", "year").replace(",", "") if 1100 <= n <= 2099 else _cardinal(n, "")


def _date(day: int, month: int, year: int | None, _before: str) -> str:
    text = f"{MONTHS[month - 1]} {_ordinal(day, '')}"
    return text if year is None else f"{text}, {_year(year)}"


def _time(hour: int, minute: int, _before: str) -> str:
    if minute:
        return f"{_cardinal(hour, '')} {'oh ' if minute < 10 else ''}{_cardinal(minute, '')}"
    if 1 <= hour <= 12:
        return f"{_cardinal(hour, '')} o'clock"
    return f"{_cardinal(hour, '')} hundred hours"


_TENS = listed("tens twenties thirties forties fifties sixties seventies eighties nineties")
_FEET = re.compile(r"(?<!\d)([3-8])'(1[01]|\d)(?!\d)")
_DECADE = re.compile(r"(?<!\d)(?:(?P<century>1[1-9]|20)|(?<=[Tt]he ))(?P<tens>[1-9])0'?s\b")


def _phrases(text: str) -> str:
    def decade(m: re.Match[str]) -> str:
        century = f"{_cardinal(int(m['century']), '')} " if m["century"] else ""
        return f"{century}{_TENS[int(m['tens']) - 1]}"

    def feet(m: re.Match[str]) -> str:
        return f"{m[1]} foot {m[2]}"

    return _FEET.sub(feet, _DECADE.sub(decade, text))


def _roman(value: int, before: str, after: str) -> str | None:
    name = before.lower()
    # "Peter I think" is no king
    if name in _RULERS.split() and (value > 1 or after in ("", "of", "and", "died", "reigned")):
        return "the " + _ordinal(value, "")
    return str(value) if name.removesuffix("s") in _CHAPTERS.split() else None


MONTHS = listed("January February March April May June July August September October November December")
_MONTH = r"(?P<month>{months}|(?:{short}|Sept)\b\.?)"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"

LANGUAGE = Language(
    code="en",
    names=("english",),
    character_limit=250,
    cardinal=_cardinal,
    ordinal=_ordinal,
    ordinal_marks={"st": "", "nd": "", "rd": "", "th": ""},
    decimal=".",
    thousands=",",
    point="point",
    minus="minus",
    currencies=moneys("""
        $,US$,USD   dollar|dollars; cent|cents
        €,EUR       euro|euros; cent|cents
        £,GBP       pound|pounds; penny|pence
        ¥,JPY       yen
        ₹,INR       rupee|rupees; paisa|paise
        zł,PLN      zloty|zlotys; grosz|groszy
        Kč,CZK      koruna|korunas; haler|halers
        Ft,HUF      forint|forints
        ₺,TRY       lira|liras; kurush
        ₽,RUB       ruble|rubles; kopeck|kopecks
        ₩,KRW       won
        R$,BRL      real|reais; centavo|centavos
        CHF         Swiss franc|Swiss francs; centime|centimes
        CNY,RMB     yuan
    """),
    money_and=" and ",
    magnitudes=words("""
        thousand = thousand
        million = million
        billion = billion
        trillion = trillion
        bn = billion
        k = thousand
        K = thousand
        m = million
        M = million
        B = billion
    """),
    units=nouns("""
        km kilometer|kilometers
        m meter|meters
        cm centimeter|centimeters
        mm millimeter|millimeters
        kg kilogram|kilograms
        g gram|grams
        mg milligram|milligrams
        l,L liter|liters
        ml,mL milliliter|milliliters
        km/h kilometer per hour|kilometers per hour
        mph mile per hour|miles per hour
        m/s meter per second|meters per second
        °C degree Celsius|degrees Celsius
        °F degree Fahrenheit|degrees Fahrenheit
        ° degree|degrees
        % percent
        ‰ per mille
        m² square meter|square meters
        km² square kilometer|square kilometers
        m³ cubic meter|cubic meters
        W watt|watts
        kW kilowatt|kilowatts
        kWh kilowatt hour|kilowatt hours
        V volt|volts
        Hz hertz
        kHz kilohertz
        MHz megahertz
        GHz gigahertz
        KB,kB kilobyte|kilobytes
        MB megabyte|megabytes
        GB gigabyte|gigabytes
        TB terabyte|terabytes
        Mbps megabit per second|megabits per second
        h,hr,hrs hour|hours
        min minute|minutes
        s,sec second|seconds
        ms millisecond|milliseconds
        ft foot|feet
        mi mile|miles
        lb,lbs pound|pounds
        oz ounce|ounces
    """),
    months=MONTHS,
    date_order="mdy",
    date=_date,
    month_day=(
        rf"{_MONTH} {_DAY}(?:(?:,|(?=.\d{{4}}\b)) ?(?P<year>\d{{4}}))?(?![\d:]|\.\d)",
        rf"{_DAY}(?: of)? {_MONTH}(?:,? (?P<year>\d{{4}}))?(?![\d:]|\.\d)",
    ),
    time=_time,
    time_words=r"\s?o'clock",
    year=_year,
    phrases=_phrases,
    range_word=" to ",
    symbols=words("""
        & = and
        + = plus
        @ = at
        # = hash
        #1 = number
        = = equals
        < = less than
        > = greater than
        ≤ = at most
        ≥ = at least
        ≈ = about
        ~ = about
        × = times
        ÷ = divided by
        ± = plus or minus
        § = section
        / = over
        ½ = one half
        ¼ = one quarter
        ¾ = three quarters
        ² = squared
        ³ = cubed
    """),
    addresses=words("""
        . = dot
        @ = at
        / = slash
        - = dash
        _ = underscore
        : = colon
        + = plus
    """),
    letters=(
        "ay bee see dee ee eff gee aitch eye jay kay ell em en oh pee cue are ess tee you vee double-you ex why zee"
    ),
    titles=words("""
        Dr. = doctor
        Drs. = doctors
        Mr. = mister
        Mrs. = missus
        Ms. = miz
        Prof. = professor
        St.^ = saint
        p.# = page
        pp.# = pages
        Gen.^ = general
        Lt.^ = lieutenant
        Sgt.^ = sergeant
        Capt.^ = captain
        Col.^ = colonel
        Maj.^ = major
        Rev.^ = reverend
        Hon.^ = honorable
        Gov.^ = governor
        Sen.^ = senator
        Rep.^ = representative
        Mt.^ = mount
        Ft.^ = fort
        e.g. = for example
        i.e. = that is
        vs. = versus
        approx. = approximately
        cf. = compare
        No.# = number
        Fig.# = figure
        w/o = without
        w/ = with
    """),
    closings=words("""
        etc. = et cetera
        et al. = and others
        Inc. = incorporated
        Ltd. = limited
        Co. = company
        Corp. = corporation
        Jr. = junior
        Sr. = senior
        Esq. = esquire
        Ave. = avenue
        St. = street
        Blvd. = boulevard
        a.m. = ay em
        p.m. = pee em
        Ph.D. = pee aitch dee
    """),
    plain_words=(
        "a i am an as at be by do go he if in is it me my no of oh ok on or so to up us we all and any are "
        "bad big but can day did for get god had has her him his hot how its let man new not now off old one "
        "our out own put red run sad say see she the too top try two use was way who why win yes yet you stop "
        "only very this that must never"
    ),
    roman=_roman,
)

import re

from more_server.text.languages.base import Language, listed, moneys, nouns, words

MONTHS = listed("जनवरी फ़रवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर")
_BELOW_HUNDRED = listed(
    "शून्य एक दो तीन चार पाँच छह सात आठ नौ दस ग्यारह बारह तेरह चौदह पंद्रह सोलह सत्रह अठारह उन्नीस "
    "बीस इक्कीस बाईस तेईस चौबीस पच्चीस छब्बीस सत्ताईस अट्ठाईस उनतीस तीस इकतीस बत्तीस तैंतीस चौंतीस पैंतीस छत्तीस सैंतीस अड़तीस उनतालीस "
    "चालीस इकतालीस बयालीस तैंतालीस चौवालीस पैंतालीस छियालीस सैंतालीस अड़तालीस उनचास "
    "पचास इक्यावन बावन तिरपन चौवन पचपन छप्पन सत्तावन अट्ठावन उनसठ "
    "साठ इकसठ बासठ तिरसठ चौंसठ पैंसठ छियासठ सड़सठ अड़सठ उनहत्तर "
    "सत्तर इकहत्तर बहत्तर तिहत्तर चौहत्तर पचहत्तर छिहत्तर सतहत्तर अठहत्तर उन्यासी "
    "अस्सी इक्यासी बयासी तिरासी चौरासी पचासी छियासी सत्तासी अट्ठासी नवासी "
    "नब्बे इक्यानवे बानवे तिरानवे चौरानवे पचानवे छियानवे सत्तानवे अट्ठानवे निन्यानवे"
)
_SCALES = (
    (10**13, "नील"), (10**11, "खरब"), (10**9, "अरब"), (10**7, "करोड़"), (10**5, "लाख"),
    (1000, "हज़ार"), (100, "सौ"),
)  # fmt: skip
_ORDINALS = {1: "पहला", 2: "दूसरा", 3: "तीसरा", 4: "चौथा", 6: "छठा"}


def _cardinal(n: int, _gender: str) -> str:
    """num2words has no Hindi numbers; those below a hundred follow no rule."""
    parts = []
    for scale, name in _SCALES:
        count, n = divmod(n, scale)
        if count:
            parts += [_cardinal(count, ""), name]
    if n or not parts:
        parts.append(_BELOW_HUNDRED[n])
    return " ".join(parts)


def _ordinal(n: int, form: str) -> str:
    if n in _ORDINALS:
        return _ORDINALS[n][:-1] + {"": "ा", "f": "ी", "o": "े"}[form]
    return _cardinal(n, "") + {"": "वाँ", "f": "वीं", "o": "वें"}[form]


def _year(n: int) -> str:
    """1984 is nineteen hundred eighty-four."""
    century, rest = divmod(n, 100)
    if not 1100 <= n <= 1999:
        return _cardinal(n, "")
    return f"{_BELOW_HUNDRED[century]} सौ" + (f" {_BELOW_HUNDRED[rest]}" if rest else "")


def _date(day: int, month: int, year: int | None, _before: str) -> str:
    text = f"{_cardinal(day, '')} {MONTHS[month - 1]}"
    return text if year is None else f"{text} {_year(year)}"


def _time(hour: int, minute: int, _before: str) -> str:
    if not minute:
        return f"{_cardinal(hour, '')} बजे"
    return f"{_cardinal(hour, '')} बजकर {_cardinal(minute, '')} मिनट"


LANGUAGE = Language(
    code="hi",
    names=("hindi", "हिन्दी", "हिंदी", "hin"),
    character_limit=150,
    cardinal=_cardinal,
    ordinal=_ordinal,
    ordinal_marks={
        "वाँ": "", "वां": "", "वीं": "f", "वें": "o", "ला": "", "ली": "f", "ले": "o", "रा": "", "री": "f", "रे": "o",
        "था": "", "थी": "f", "थे": "o", "ठा": "", "ठी": "f", "st": "", "nd": "", "rd": "", "th": "",
    },
    decimal=".",
    thousands=",",
    point="दशमलव",
    minus="माइनस",
    currencies=moneys("""
        ₹,INR,रु.   रुपया|रुपये; पैसा|पैसे
        $,US$,USD   डॉलर; सेंट
        €,EUR       यूरो; सेंट
        £,GBP       पाउंड; पेंस
        ¥,JPY       येन
        zł,PLN      ज़्लॉटी
        Kč,CZK      कोरुना
        Ft,HUF      फ़ोरिंट
        ₺,TRY       लीरा
        ₽,RUB       रूबल
        ₩,KRW       वॉन
        R$,BRL      रियाल
        CHF         स्विस फ़्रैंक
        CNY         युआन
    """),
    magnitudes=words("""
        हज़ार = हज़ार; हजार = हज़ार; लाख = लाख; करोड़ = करोड़; अरब = अरब; मिलियन = मिलियन; बिलियन = बिलियन
    """),
    units=nouns("""
        km,किमी,कि.मी. किलोमीटर; m,मी मीटर; cm,सेमी सेंटीमीटर; mm,मिमी मिलीमीटर; kg,किग्रा,कि.ग्रा. किलोग्राम
        g,ग्राम ग्राम; mg मिलीग्राम
        l,L लीटर; ml,mL मिलीलीटर; km/h,किमी/घंटा किलोमीटर प्रति घंटा; m/s मीटर प्रति सेकंड; °C डिग्री सेल्सियस
        °F डिग्री फ़ारेनहाइट
        ° डिग्री; % प्रतिशत; ‰ प्रति हज़ार; m² वर्ग मीटर; km² वर्ग किलोमीटर; m³ घन मीटर; W वाट; kW किलोवाट
        kWh किलोवाट घंटा; V वोल्ट
        Hz हर्ट्ज़; kHz किलोहर्ट्ज़; MHz मेगाहर्ट्ज़; GHz गीगाहर्ट्ज़; KB,kB किलोबाइट; MB मेगाबाइट; GB गीगाबाइट
        TB टेराबाइट
        h,hr घंटा|घंटे; min मिनट; s,sec सेकंड; ms मिलीसेकंड
    """),
    months=MONTHS,
    date=_date,
    month_day=(r"(?P<day>\d{1,2}) (?P<month>{months})(?:,? (?P<year>\d{4}))?(?![\w.])",),
    time=_time,
    time_words=r" ?बजे",
    year=_year,
    phrases=lambda text: re.sub(r"(?<=[\u0900-\u097f])॰", ".", text),
    range_word=" से ",
    symbols=words("""
        & = और; + = प्लस; @ = ऐट; # = हैश; #1 = नंबर; = = बराबर; < = से कम; > = से ज़्यादा
        ≤ = अधिकतम; ≥ = कम से कम; ≈ = लगभग; ~ = लगभग; × = गुणा; ÷ = भाग
        ± = प्लस माइनस; § = धारा; / = बटा; ½ = आधा; ¼ = एक चौथाई; ¾ = तीन चौथाई; ² = वर्ग; ³ = घन
    """),
    addresses=words(". = डॉट; @ = ऐट; / = स्लैश; - = डैश; _ = अंडरस्कोर; : = कोलन; + = प्लस"),
    letters="ए बी सी डी ई एफ़ जी एच आई जे के एल एम एन ओ पी क्यू आर एस टी यू वी डब्ल्यू एक्स वाई ज़ेड",
    titles=words("""
        डॉ. = डॉक्टर; डा. = डॉक्टर; श्री. = श्री; प्रो. = प्रोफ़ेसर; सं. = संख्या; पृ. = पृष्ठ; ई.पू. = ईसा पूर्व
        कृ. = कृपया; Dr. = डॉक्टर; Mr. = मिस्टर; Mrs. = मिसेज़
    """),
    closings=words("इत्या. = इत्यादि; आदि. = आदि; etc. = इत्यादि"),
)  # fmt: skip

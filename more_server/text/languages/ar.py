import re

from more_server.text.languages.base import Language, Noun, listed, moneys, nouns, words

MONTHS = listed("يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر")
_MASCULINE = listed("صفر واحد اثنان ثلاثة أربعة خمسة ستة سبعة ثمانية تسعة عشرة")
_FEMININE = listed("صفر واحدة اثنتان ثلاث أربع خمس ست سبع ثماني تسع عشر")
_TENS = listed("عشرون ثلاثون أربعون خمسون ستون سبعون ثمانون تسعون")
_HUNDREDS = listed("مئة مئتان ثلاثمئة أربعمئة خمسمئة ستمئة سبعمئة ثمانمئة تسعمئة")
_SCALES = (
    (10**12, Noun("m", ("تريليون", "تريليونان", "تريليونات", "تريليونًا"))),
    (10**9, Noun("m", ("مليار", "ملياران", "مليارات", "مليارًا"))),
    (10**6, Noun("m", ("مليون", "مليونان", "ملايين", "مليونًا"))),
    (1000, Noun("m", ("ألف", "ألفان", "آلاف", "ألفًا"))),
)
_ORDINALS = listed("الأول الثاني الثالث الرابع الخامس السادس السابع الثامن التاسع العاشر")
_HOURS = listed("الواحدة الثانية الثالثة الرابعة الخامسة السادسة السابعة الثامنة التاسعة العاشرة")


def _cardinal(n: int, gender: str) -> str:
    """num2words knows no gender, cuts 200 and 2000 short and writes decimals with a comma."""
    parts = []
    for scale, name in _SCALES:
        count, n = divmod(n, scale)
        if count:
            parts.append(name.forms[0] if count == 1 else _count(count, name))
    hundreds, rest = divmod(n, 100)
    if hundreds:
        parts.append(_HUNDREDS[hundreds - 1])
    if rest or not parts:
        parts.append(_below_hundred(rest, gender))
    return " و".join(parts)


def _below_hundred(n: int, gender: str) -> str:
    ones = _FEMININE if gender == "f" else _MASCULINE
    if n <= 10:
        return ones[n]
    if n < 20:
        first = {11: ("أحد", "إحدى"), 12: ("اثنا", "اثنتا")}.get(n, (ones[n - 10], ones[n - 10]))[gender == "f"]
        return f"{first} {'عشرة' if gender == 'f' else 'عشر'}"
    tens = _TENS[n // 10 - 2]
    return f"{ones[n % 10]} و{tens}" if n % 10 else tens


def _count(n: int, noun: Noun) -> str:
    """Forms: singular, dual, plural (3-10), accusative (11-99); whole hundreds take the singular."""
    if len(noun.forms) == 1:
        return f"{_cardinal(n, '')} {noun.forms[0]}"
    singular, dual, plural, accusative = noun.forms
    if n == 1:
        return f"{singular} {_cardinal(1, noun.gender)}"
    if n == 2:
        return dual
    rest = n % 100
    form = plural if 3 <= rest <= 10 else accusative if rest > 10 else singular
    # the dual loses its n before the noun it counts
    return f"{re.sub('تان$', 'تا', re.sub('فان$', 'فا', _cardinal(n, noun.gender)))} {form}"


def _oblique(text: str) -> str:
    return re.sub(r"(ون|ان)(?= |$)", "ين", text)


def _ordinal(n: int, _form: str) -> str:
    if n <= 10:
        return _ORDINALS[n - 1]
    ones, tens = n % 10, n // 10
    first = "الحادي" if ones == 1 else _ORDINALS[ones - 1] if ones else ""
    if n < 20:
        return f"{first} عشر"
    if n < 100:
        return f"{first} وال{_TENS[tens - 2]}" if ones else f"ال{_TENS[tens - 2]}"
    return f"رقم {_cardinal(n, '')}"


def _date(day: int, month: int, year: int | None, before: str) -> str:
    spelt = _ordinal(day, "")
    text = f"{_oblique(spelt) if before in ('في', 'يوم', 'من', 'حتى', 'إلى', 'منذ') else spelt} من {MONTHS[month - 1]}"
    return text if year is None else f"{text} عام {_oblique(_cardinal(year, ''))}"


def _hour(hour: int) -> str:
    if hour == 0:
        return "الثانية عشرة"
    if hour <= 10:
        return _HOURS[hour - 1]
    first = "الحادية" if hour % 10 == 1 else _HOURS[hour % 10 - 1]
    return f"{first} عشرة" if hour < 20 else f"{first} والعشرون" if hour > 20 else "العشرون"


def _time(hour: int, minute: int, _before: str) -> str:
    if minute in (0, 15, 30):
        return _hour(hour) + {0: "", 15: " والربع", 30: " والنصف"}[minute]
    return f"{_hour(hour)} و{_count(minute, LANGUAGE.units['min'])}"


_PERCENT_FIRST = re.compile(r"%\s?(\d+(?:[.,]\d+)*)")
_HALF_DAY = re.compile(r"(\d(?::\d\d)?) ?([صم])(?!\w)\.?")


def _phrases(text: str) -> str:
    text = text.replace("ـ", "")  # a stretched joint, no letter
    text = re.sub(r"(?<=\d)٫(?=\d)", ".", text)
    text = _HALF_DAY.sub(lambda m: f"{m[1]} {'صباحًا' if m[2] == 'ص' else 'مساءً'}", text) if ":" in text else text
    return _PERCENT_FIRST.sub(r"\1%", text)


LANGUAGE = Language(
    code="ar",
    names=("arabic", "العربية", "ara"),
    character_limit=166,
    cardinal=_cardinal,
    ordinal=_ordinal,
    decimal=".",
    thousands=",",
    point="فاصلة",
    minus="ناقص",
    fraction_as_number=True,
    fraction_form=0,
    count=_count,
    plural=lambda n: 2 if 3 <= n % 100 <= 10 else 0,
    currencies=moneys("""
        $,US$,USD   m|دولار|دولاران|دولارات|دولارًا; m|سنت|سنتان|سنتات|سنتًا
        €,EUR       m|يورو; m|سنت|سنتان|سنتات|سنتًا
        £,GBP       m|جنيه إسترليني|جنيهان إسترلينيان|جنيهات إسترلينية|جنيهًا إسترلينيًا; m|بنس|بنسان|بنسات|بنسًا
        ¥,JPY       m|ين|ينان|ينات|ينًا
        ₹,INR       f|روبية|روبيتان|روبيات|روبية
        zł,PLN      m|زلوتي
        Kč,CZK      f|كرونة|كرونتان|كرونات|كرونة
        Ft,HUF      m|فورنت
        ₺,TRY       f|ليرة|ليرتان|ليرات|ليرة
        ₽,RUB       m|روبل|روبلان|روبلات|روبلًا
        ₩,KRW       m|وون
        R$,BRL      m|ريال برازيلي|ريالان برازيليان|ريالات برازيلية|ريالًا برازيليًا
        CHF         m|فرنك سويسري|فرنكان سويسريان|فرنكات سويسرية|فرنكًا سويسريًا
        SAR         m|ريال سعودي|ريالان سعوديان|ريالات سعودية|ريالًا سعوديًا; f|هللة|هللتان|هللات|هللة
        AED         m|درهم|درهمان|دراهم|درهمًا; m|فلس|فلسان|فلوس|فلسًا
        EGP         m|جنيه|جنيهان|جنيهات|جنيهًا; m|قرش|قرشان|قروش|قرشًا
    """),
    money_and=" و",
    magnitudes=words("ألف = ألف; مليون = مليون; مليار = مليار; تريليون = تريليون"),
    units=nouns("""
        km,كم m|كيلومتر|كيلومتران|كيلومترات|كيلومترًا; m,م m|متر|متران|أمتار|مترًا
        cm,سم m|سنتيمتر|سنتيمتران|سنتيمترات|سنتيمترًا
        mm,مم m|مليمتر|مليمتران|مليمترات|مليمترًا; kg,كجم,كغ m|كيلوغرام|كيلوغرامان|كيلوغرامات|كيلوغرامًا
        g,غ m|غرام|غرامان|غرامات|غرامًا
        mg m|مليغرام|مليغرامان|مليغرامات|مليغرامًا; l,L,ل m|لتر|لتران|لترات|لترًا
        ml,مل m|مليلتر|مليلتران|مليلترات|مليلترًا
        km/h,كم/س m|كيلومتر في الساعة|كيلومتران في الساعة|كيلومترات في الساعة|كيلومترًا في الساعة
        m/s m|متر في الثانية|متران في الثانية|أمتار في الثانية|مترًا في الثانية
        °C f|درجة مئوية|درجتان مئويتان|درجات مئوية|درجة مئوية
        °F f|درجة فهرنهايت|درجتا فهرنهايت|درجات فهرنهايت|درجة فهرنهايت
        ° f|درجة|درجتان|درجات|درجة; % m|بالمئة; ‰ m|بالألف
        m² m|متر مربع|متران مربعان|أمتار مربعة|مترًا مربعًا
        km² m|كيلومتر مربع|كيلومتران مربعان|كيلومترات مربعة|كيلومترًا مربعًا
        m³ m|متر مكعب|متران مكعبان|أمتار مكعبة|مترًا مكعبًا; W m|واط; kW m|كيلوواط; kWh m|كيلوواط ساعة; V m|فولت
        Hz m|هرتز; kHz m|كيلوهرتز; MHz m|ميغاهرتز; GHz m|غيغاهرتز; KB,kB m|كيلوبايت; MB m|ميغابايت; GB m|غيغابايت
        TB m|تيرابايت
        h f|ساعة|ساعتان|ساعات|ساعة; min f|دقيقة|دقيقتان|دقائق|دقيقة; s f|ثانية|ثانيتان|ثوانٍ|ثانية; ms m|ملي ثانية
    """),
    months=MONTHS,
    date=_date,
    month_day=(r"(?P<day>\d{1,2}) (?P<month>{months})(?: (?P<year>\d{4}))?(?!\w)",),
    time=_time,
    phrases=_phrases,
    range_word=" إلى ",
    symbols=words("""
        & = و; + = زائد; @ = آت; # = هاشتاغ; #1 = رقم; = = يساوي; < = أصغر من; > = أكبر من
        ≤ = لا يزيد عن; ≥ = لا يقل عن; ≈ = حوالي; ~ = حوالي; × = ضرب; ÷ = على
        ± = زائد أو ناقص; § = فقرة; / = على; ½ = نصف; ¼ = ربع; ¾ = ثلاثة أرباع; ² = تربيع; ³ = تكعيب
    """),
    addresses=words(". = نقطة; @ = آت; / = شرطة مائلة; - = شرطة; _ = شرطة سفلية; : = نقطتان; + = زائد"),
    letters="إيه بي سي دي إي إف جي إتش آي جيه كيه إل إم إن أو بي كيو آر إس تي يو في دبليو إكس واي زد",
    titles=words("""
        د.^ = دكتور; أ.د. = أستاذ دكتور; م.^ = مهندس; ص.# = صفحة; هـ.# = هجري; Dr. = دكتور; Mr. = السيد
        Mrs. = السيدة
    """),
    closings=words("إلخ. = إلى آخره; الخ. = إلى آخره; etc. = إلى آخره; ق.م. = قبل الميلاد"),
)  # fmt: skip

import re

from more_server.text.languages.base import Language, Noun, kanji_digits, moneys, nouns, one_form, words

_DIGITS = "零一二三四五六七八九"
_MEASURES = (
    "元个個位本张張只隻条條件次天年杯瓶家间間部辆輛颗顆块塊片份把双雙对對岁歲种種层層"
    "倍口名套台支座架匹头頭棵朵封场場句首篇项項股点點分秒小时"
)


def _section(n: int) -> str:
    """One to four digits, with 零 for gaps inside."""
    text, gap = "", False
    for power, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, n = divmod(n, power)
        if digit:
            text += ("零" if gap and text else "") + _DIGITS[digit] + unit
            gap = False
        else:
            gap = True
    return text


def _cardinal(n: int, gender: str) -> str:
    """With a gender, the number counts something: two is then 两."""
    if n == 0:
        return "零"
    if n == 2 and gender:
        return "两"
    parts, higher = "", False
    for power, unit in ((10**12, "万亿"), (10**8, "亿"), (10**4, "万"), (1, "")):
        count, n = divmod(n, power)
        if count:
            parts += ("零" if higher and count < 1000 else "") + _section(count) + unit
            higher = True
    return re.sub(r"二(?=千|万|亿)", "两", re.sub(r"^一十", "十", parts))


def _ordinal(n: int, _form: str) -> str:
    return f"第{_cardinal(n, '')}"


def _count(n: int, noun: Noun) -> str:
    form = noun.forms[0]
    return form.format(_cardinal(n, "")) if "{}" in form else f"{_cardinal(n, noun.gender)}{form}"


def _date(day: int, month: int, year: int | None, _before: str) -> str:
    text = f"{_cardinal(month, '')}月{_cardinal(day, '')}日"
    return text if year is None else f"{kanji_digits(str(year), _DIGITS)}年{text}"


def _time(hour: int, minute: int, _before: str) -> str:
    text = f"{_cardinal(hour, 'm')}点"
    return f"{text}{'零' if minute < 10 else ''}{_cardinal(minute, '')}分" if minute else text


_YEAR = re.compile(r"(?<![\d.,])(\d{4}|\d{2})(?=年(?!级|級|前|后|後|来|來|间|間|龄|齡|多))")
_TWO = re.compile(rf"(?<![\d.,第/])2(?=[{_MEASURES}])(?!年|分|点|月)")


def _phrases(text: str) -> str:
    return _TWO.sub("两", _YEAR.sub(lambda m: kanji_digits(m[1], _DIGITS), text))


LANGUAGE = Language(
    code="zh-cn",
    names=("chinese", "mandarin", "中文", "汉语", "普通话", "cmn", "zho", "chi", "zh"),
    character_limit=82,
    cardinal=_cardinal,
    ordinal=_ordinal,
    digits=" ".join(_DIGITS),
    decimal=".",
    thousands=",",
    point="点",
    minus="负",
    plural=one_form,
    count=_count,
    spaced=False,
    currencies=moneys("""
        ¥,CNY,RMB   m|元
        $,US$,USD   m|美元
        €,EUR       m|欧元
        £,GBP       m|英镑
        JPY         m|日元
        HK$         m|港元
        ₹,INR       m|卢比
        zł,PLN      m|兹罗提
        Kč,CZK      m|捷克克朗
        Ft,HUF      m|福林
        ₺,TRY       m|里拉
        ₽,RUB       m|卢布
        ₩,KRW       m|韩元
        R$,BRL      m|雷亚尔
        CHF         m|瑞士法郎
    """),
    magnitudes=words("万 = 万; 亿 = 亿; 百万 = 百万; 千万 = 千万; 万亿 = 万亿"),
    units=nouns("""
        km m|公里; m m|米; cm m|厘米; mm m|毫米; kg m|公斤; g m|克; mg m|毫克; l,L m|升; ml,mL m|毫升
        km/h m|公里每小时; m/s m|米每秒
        °C m|摄氏度; °F m|华氏度; ° m|度; % 百分之{}; ‰ 千分之{}; m² m|平方米; km² m|平方公里; m³ m|立方米; W m|瓦
        kW m|千瓦; kWh m|千瓦时; V m|伏
        Hz m|赫兹; kHz m|千赫兹; MHz m|兆赫兹; GHz m|吉赫兹; KB,kB m|千字节; MB m|兆字节; GB m|吉字节; TB m|太字节
        h m|小时; min m|分钟; s m|秒
        ms m|毫秒
    """),
    months=tuple(f"{i}月" for i in range(1, 13)),
    date_order="ymd",
    date=_date,
    time=_time,
    phrases=_phrases,
    padded=False,
    range_word="到",
    symbols=words("""
        & = 和; + = 加; @ = 艾特; # = 井号; #1 = 第; = = 等于; < = 小于; > = 大于
        ≤ = 小于等于; ≥ = 大于等于; ≈ = 约等于; ~ = 约; × = 乘; ÷ = 除以
        ± = 正负; § = 第; / = {1}分之{0}; ½ = 二分之一; ¼ = 四分之一; ¾ = 四分之三; ² = 的平方; ³ = 的立方
    """),
    addresses=words(". = 点; @ = 艾特; / = 斜杠; - = 杠; _ = 下划线; : = 冒号; + = 加"),
    letters="",
    titles=words("Dr. = 博士; Mr. = 先生; Mrs. = 夫人; vs. = 对; No.# = 第"),
    closings=words("etc. = 等等"),
)  # fmt: skip

import re

from more_server.text.languages.base import Language, listed, moneys, nouns, num2words, slavic_forms, words

MONTHS = listed("января февраля марта апреля мая июня июля августа сентября октября ноября декабря")
_ENDINGS = {"f": "ая", "n": "ое", "g": "ого", "d": "ому", "p": "ом", "i": "ым", "a": "ую", "gp": "ых"}
_THIRD = {"f": "ья", "n": "ье", "g": "ьего", "d": "ьему", "p": "ьем", "i": "ьим", "a": "ью", "gp": "ьих"}
_TENTHS = ("десят", "сот", "тысячн")


def _gender_of(noun: str) -> str:
    """Two takes the genitive, which tells: две книги, два стола; so do many a nominative: одна книга."""
    return "f" if noun.endswith(("ы", "и", "ка", "ница")) and noun not in ("и", "или") else ""


def _cardinal(n: int, gender: str) -> str:
    text = num2words(n, "ru")
    if 1000 <= n < 2000:
        text = text.removeprefix("одна ")
    if gender == "f":
        return re.sub(r"\bодин$", "одна", re.sub(r"\bдва$", "две", text))
    return re.sub(r"\bодин$", "одно", text) if gender == "n" else text


def _ordinal(n: int, form: str) -> str:
    """The last word inflects: `f`eminine, `n`euter, `g`enitive, `d`ative, `p`repositional, `i`nstrumental."""
    text = num2words(n, "ru", "ordinal")
    if not form:
        return text
    if form == "n" and n >= 1000:
        return text[:-2] + "ые"  # 1990-е: the nineties
    return text[:-2] + (_THIRD if text.endswith("третий") else _ENDINGS)[form]


def _decimal(whole: str, fraction: str) -> str | None:
    if len(fraction) > len(_TENTHS) or len(whole) > 15 or not int(fraction):
        return None
    integer, parts = int(whole), int(fraction)
    wholes = "целая" if slavic_forms(integer) == 0 else "целых"
    kind = _TENTHS[len(fraction) - 1] + ("ая" if slavic_forms(parts) == 0 else "ых")
    return f"{_cardinal(integer, 'f')} {wholes} {_cardinal(parts, 'f')} {kind}"


def _date(day: int, month: int, year: int | None, _before: str) -> str:
    text = f"{_ordinal(day, 'g')} {MONTHS[month - 1]}"
    return text if year is None else f"{text} {_ordinal(year, 'g')} года"


def _time(hour: int, minute: int, _before: str) -> str:
    spelt = _cardinal(hour, "")
    if not minute:
        return f"{spelt} {('час', 'часа', 'часов')[slavic_forms(hour)]}"
    return f"{spelt} {'ноль ' if minute < 10 else ''}{_cardinal(minute, '')}"


_DATE_YEAR = re.compile(r"(\d{1,2}\.\d{1,2}\.\d{4}) ?(?:г\.|года\b)")
_YEAR = re.compile(
    r"(?<![\w.])(?P<before>(?:[Вв]о?|[Оо]|[Пп]ри) )?"
    r"(?P<year>[12]\d{3}) ?(?P<word>году|годом|года|год|г\.)(?!\w)"
)
_YEAR_FORMS = {"год": "", "года": "g", "году": "p", "годом": "i"}


def _phrases(text: str) -> str:
    def year(m: re.Match[str]) -> str:
        word = m["word"] if m["word"] != "г." else "году" if m["before"] else "года"
        return f"{m['before'] or ''}{_ordinal(int(m['year']), _YEAR_FORMS[word])} {word}"

    return _YEAR.sub(year, _DATE_YEAR.sub(r"\1", text))


_FIRSTS = listed("Пётр Петр Николай Александр Павел Елизавета Екатерина Наполеон Мария")
_CENTURY = {"век": "", "века": "g", "веке": "p", "веком": "i", "веку": "d", "в": "", "столетие": "n", "столетия": "g"}


def _roman(value: int, before: str, after: str) -> str | None:
    if after in _CENTURY:
        return _ordinal(value, _CENTURY[after])
    if before.lower() in listed("глава том часть акт раздел тип класс этап фаза"):
        return str(value)
    if not before[:1].isupper() or (value == 1 and before not in _FIRSTS):
        return None
    return _ordinal(value, "f" if before in ("Екатерина", "Елизавета", "Изабелла", "Мария") else "")


_LETTERS = listed("а бэ вэ гэ дэ е ё жэ зэ и ка эль эм эн о пэ эр эс тэ у эф ха цэ че ша ща э ю я")
_MARKS = (
    "й: ый: ой: ий: я:f ая:f ья:f е:n ое:n ье:n го:g ого:g его:g му:d ому:d ему:d м:p ом:p ем:p х:gp ых:gp ю:a ую:a"
)

LANGUAGE = Language(
    code="ru",
    names=("russian", "русский", "rus"),
    character_limit=182,
    cardinal=_cardinal,
    ordinal=_ordinal,
    ordinal_marks={f"-{mark}": form for mark, _, form in (pair.partition(":") for pair in _MARKS.split())},
    decimal=",",
    thousands=" ",
    point="запятая",
    minus="минус",
    decimal_words=_decimal,
    plural=slavic_forms,
    gender_of=_gender_of,
    currencies=moneys("""
        ₽,руб.,RUB  m|рубль|рубля|рублей; f|копейка|копейки|копеек
        $,US$,USD   m|доллар|доллара|долларов; m|цент|цента|центов
        €,EUR       n|евро; m|цент|цента|центов
        £,GBP       m|фунт|фунта|фунтов; m|пенс|пенса|пенсов
        ¥,JPY       f|иена|иены|иен
        ₹,INR       f|рупия|рупии|рупий
        zł,PLN      m|злотый|злотых|злотых
        Kč,CZK      f|чешская крона|чешские кроны|чешских крон
        Ft,HUF      m|форинт|форинта|форинтов
        ₺,TRY       f|турецкая лира|турецкие лиры|турецких лир
        ₩,KRW       f|вона|воны|вон
        R$,BRL      m|реал|реала|реалов
        CHF         m|швейцарский франк|швейцарских франка|швейцарских франков
        CNY         m|юань|юаня|юаней
    """),
    magnitudes=words("""
        тысяча = f|тысяча; тысячи = f|тысячи; тысяч = f|тысяч; миллион = m|миллион; миллиона = m|миллиона
        миллионов = m|миллионов; миллиард = m|миллиард; миллиарда = m|миллиарда; миллиардов = m|миллиардов
        тыс. = f|тысяча|тысячи|тысяч
        млн = m|миллион|миллиона|миллионов; млрд = m|миллиард|миллиарда|миллиардов
    """),
    units=nouns("""
        км,km m|километр|километра|километров; м,m m|метр|метра|метров; см,cm m|сантиметр|сантиметра|сантиметров
        мм,mm m|миллиметр|миллиметра|миллиметров
        кг,kg m|килограмм|килограмма|килограммов; г,g m|грамм|грамма|граммов
        мг,mg m|миллиграмм|миллиграмма|миллиграммов
        л m|литр|литра|литров; мл,ml m|миллилитр|миллилитра|миллилитров
        км/ч,km/h m|километр в час|километра в час|километров в час
        м/с,m/s m|метр в секунду|метра в секунду|метров в секунду
        °C,°С m|градус Цельсия|градуса Цельсия|градусов Цельсия
        °F m|градус Фаренгейта|градуса Фаренгейта|градусов Фаренгейта
        ° m|градус|градуса|градусов; % m|процент|процента|процентов; ‰ m|промилле
        м²,m² m|квадратный метр|квадратных метра|квадратных метров
        км²,km² m|квадратный километр|квадратных километра|квадратных километров
        м³,m³ m|кубический метр|кубических метра|кубических метров; Вт,W m|ватт|ватта|ватт
        кВт,kW m|киловатт|киловатта|киловатт
        кВт·ч,kWh m|киловатт-час|киловатт-часа|киловатт-часов; В,V m|вольт|вольта|вольт; Гц,Hz m|герц|герца|герц
        кГц,kHz m|килогерц|килогерца|килогерц
        МГц,MHz m|мегагерц|мегагерца|мегагерц; ГГц,GHz m|гигагерц|гигагерца|гигагерц
        КБ,KB,kB m|килобайт|килобайта|килобайт
        МБ,MB m|мегабайт|мегабайта|мегабайт; ГБ,GB m|гигабайт|гигабайта|гигабайт
        ТБ,TB m|терабайт|терабайта|терабайт
        ч,h m|час|часа|часов; мин,min f|минута|минуты|минут; сек,s f|секунда|секунды|секунд
        мс,ms f|миллисекунда|миллисекунды|миллисекунд
    """),
    months=MONTHS,
    date=_date,
    month_day=(r"(?P<day>\d{1,2}) (?P<month>{months})(?: (?P<year>\d{4})(?: ?г\.| года\b)?)?(?!\w)",),
    time=_time,
    phrases=_phrases,
    range_word=" ",
    symbols=words("""
        & = и; + = плюс; @ = собака; # = решётка; #1 = номер; = = равно; < = меньше; > = больше
        ≤ = не больше; ≥ = не меньше; ≈ = примерно; ~ = примерно; × = умножить на; ÷ = разделить на
        ± = плюс-минус; § = параграф; / = дробь; ½ = половина; ¼ = одна четвёртая; ¾ = три четвёртых; ² = в квадрате
        ³ = в кубе
    """),
    addresses=words(". = точка; @ = собака; / = слэш; - = дефис; _ = подчёркивание; : = двоеточие; + = плюс"),
    letters="эй би си ди и эф джи эйч ай джей кей эл эм эн оу пи кью ар эс ти ю ви дабл-ю экс уай зед",
    more_letters=dict(zip("АБВГДЕЁЖЗИКЛМНОПРСТУФХЦЧШЩЭЮЯ", _LETTERS, strict=True)),
    titles=words("""
        г-н = господин; г-жа = госпожа; д-р = доктор; проф. = профессор; акад. = академик; им. = имени; ул. = улица
        пр. = проспект; пл.^ = площадь
        г.^ = город; т.е. = то есть; напр. = например; т.к. = так как; т.н. = так называемый; стр.# = страница
        с.# = страница; рис.# = рисунок; гл.# = глава
        тел. = телефон; см. = смотри; ср. = сравни; св. = святой; д.# = дом; кв.# = квартира; ок. = около; № = номер
        ст.# = статья; п.# = пункт
    """),
    closings=words("""
        и т.д. = и так далее; и т.п. = и тому подобное; и др. = и другие; н.э. = нашей эры; до н.э. = до нашей эры
        вв. = веков; в.# = в
    """),
    plain_words=(
        "а без бы в вам вас во вот все всё вы где да для до его ее её если есть ещё же за и из или им их к "
        "как кто ли мне мой мы на не нет ни но о об он она они от по под при раз с сам со так там то тот ты "
        "тут у уж уже что эта это я вуз день год мир дом"
    ),
    roman=_roman,
)  # fmt: skip

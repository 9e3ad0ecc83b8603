import re

from more_server.text.languages.base import Language, Noun, listed, moneys, nouns, num2words, one_form, words

_ONES = ("", *listed("한 두 세 네 다섯 여섯 일곱 여덟 아홉"))
_TENS = ("", *listed("열 스물 서른 마흔 쉰 예순 일흔 여든 아흔"))
_COUNTERS = listed(
    "개 명 살 시 마리 권 잔 병 대 장 벌 채 켤레 송이 그루 자루 사람 시간 가지 군데 곳 달 분이 분의 분은 분께"
)


def _native(n: int) -> str:
    """Korean's own numbers, 1 to 99, as they stand before a counter."""
    if n == 20:
        return "스무"
    return f"{_TENS[n // 10]}{_ONES[n % 10]}"


def _cardinal(n: int, _gender: str) -> str:
    return num2words(n, "ko")


def _ordinal(n: int, _form: str) -> str:
    if n == 1:
        return "첫 번째"
    return f"{_native(n) if n < 100 else _cardinal(n, '')} 번째"


def _count(n: int, noun: Noun) -> str:
    return f"{_native(n) if noun.gender and 0 < n < 100 else _cardinal(n, '')} {noun.forms[0]}"


def _month(month: int) -> str:
    return {6: "유월", 10: "시월"}.get(month) or f"{_cardinal(month, '')}월"


def _date(day: int, month: int, year: int | None, _before: str) -> str:
    text = f"{_month(month)} {_cardinal(day, '')}일"
    return text if year is None else f"{_cardinal(year, '')}년 {text}"


def _time(hour: int, minute: int, _before: str) -> str:
    text = f"{_native(hour) if 1 <= hour <= 12 else _cardinal(hour, '')} 시"
    return f"{text} {_cardinal(minute, '')} 분" if minute else text


_COUNTED = re.compile(rf"(?<![\d.,제])(\d{{1,2}}) ?({'|'.join(sorted(_COUNTERS, key=len, reverse=True))})")
_NTH = re.compile(r"(?<![\d.,])(\d{1,6}) ?번째")
_MONTH = re.compile(r"(?<![\d.,])(\d{1,2})월")


def _phrases(text: str) -> str:
    def counted(m: re.Match[str]) -> str:
        n = int(m[1])
        if n == 0 or (m[2] == "시" and n > 12):
            return m[0]
        return f"{_native(n)} {m[2]}"

    def month(m: re.Match[str]) -> str:
        return _month(int(m[1])) if 1 <= int(m[1]) <= 12 else m[0]

    text = _NTH.sub(lambda m: _ordinal(int(m[1]), "") if int(m[1]) else m[0], text)
    return _MONTH.sub(month, _COUNTED.sub(counted, text))


LANGUAGE = Language(
    code="ko",
    names=("korean", "한국어", "kor", "kr"),
    character_limit=95,
    cardinal=_cardinal,
    ordinal=_ordinal,
    digits="공 일 이 삼 사 오 육 칠 팔 구",
    decimal=".",
    thousands=",",
    point="점",
    minus="마이너스",
    plural=one_form,
    count=_count,
    currencies=moneys("""
        ₩,KRW       원
        $,US$,USD   달러; 센트
        €,EUR       유로; 센트
        £,GBP       파운드; 펜스
        ¥,JPY       엔
        ₹,INR       루피
        zł,PLN      즈워티
        Kč,CZK      코루나
        Ft,HUF      포린트
        ₺,TRY       리라
        ₽,RUB       루블
        R$,BRL      헤알
        CHF         스위스 프랑
        CNY         위안
    """),
    magnitudes=words("만 = 만; 억 = 억; 조 = 조; 백만 = 백만; 천만 = 천만"),
    units=nouns("""
        km 킬로미터; m 미터; cm 센티미터; mm 밀리미터; kg 킬로그램; g 그램; mg 밀리그램; l,L 리터; ml,mL 밀리리터
        km/h 킬로미터 매 시; m/s 미터 매 초
        °C 도; °F 화씨 도; ° 도; % 퍼센트; ‰ 퍼밀; m² 제곱미터; km² 제곱킬로미터; m³ 세제곱미터; W 와트
        kW 킬로와트; kWh 킬로와트시; V 볼트
        Hz 헤르츠; kHz 킬로헤르츠; MHz 메가헤르츠; GHz 기가헤르츠; KB,kB 킬로바이트; MB 메가바이트; GB 기가바이트
        TB 테라바이트
        h m|시간; min 분; s 초; ms 밀리초
    """),
    months=tuple(f"{i}월" for i in range(1, 13)),
    date_order="ymd",
    date=_date,
    time=_time,
    phrases=_phrases,
    padded=False,
    range_word="에서 ",
    symbols=words("""
        & = 그리고; + = 더하기; @ = 골뱅이; # = 샵; #1 = 번호; = = 는; < = 보다 작다; > = 보다 크다
        ≤ = 이하; ≥ = 이상; ≈ = 약; ~ = 약; × = 곱하기; ÷ = 나누기
        ± = 플러스 마이너스; § = 조항; / = {1}분의 {0}
        ½ = 이분의 일; ¼ = 사분의 일; ¾ = 사분의 삼; ² = 제곱; ³ = 세제곱
    """),
    addresses=words(". = 점; @ = 골뱅이; / = 슬래시; - = 하이픈; _ = 언더바; : = 콜론; + = 플러스"),
    letters=(
        "에이 비 씨 디 이 에프 지 에이치 아이 제이 케이 엘 엠 엔 오 피 큐 알 에스 티 유 브이 더블유 엑스 와이 "
        "제트"
    ),
    titles=words("Dr. = 닥터; Mr. = 미스터; Mrs. = 미세스; vs. = 대; No.# = 번호"),
    closings=words("etc. = 등등"),
)  # fmt: skip

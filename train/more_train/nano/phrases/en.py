"""English phrases."""

from more_train.nano.phrases.grammar import Grammar, phrases, slots

GRAMMAR = Grammar(
    language="en",
    voice="en-us",
    locale="en_US",
    letters="",
    templates=phrases("""
        The <adjective> <thing> is <where>
        The <thing> <where> was very <adjective>
        <person> <did> the <thing> <where>
        <person> <did> a <adjective> <thing> <time>
        <time> <person> <did> the <adjective> <thing>
        <person> wants to <do> the <thing> <time>
        <person> will <do> the <thing> and the <thing>
        <person> could not <do> the <thing> because it was <adjective>
        Please <do> the <thing> <where>
        Please <do> the <adjective> <thing> before <person> comes home
        Do not <do> the <thing> <time>
        We should <do> the <thing> <time>
        I think that <person> will <do> the <thing>
        I have never seen such a <adjective> <thing>
        There is a <adjective> <thing> <where>
        There are two <thing>s and a <thing> <where>
        It was <weather> <where> <time>
        <time> it will be <weather>
        It is <weather> and the <thing> is <adjective>
        When it is <weather>, <person> likes to stay <where>
        If it is <weather> <time>, we will <do> the <thing>
        <person> is <where>, but the <thing> is not
        <person> said that the <thing> was too <adjective>
        Nobody knew why the <thing> was so <adjective>
        Everyone <where> was looking at the <adjective> <thing>
        After <meal>, <person> <did> the <thing>
        We had <food> and <food> for <meal>
        Would you like some <food> with your <food>
        The <food> tastes <adjective> with a little <food>
        <person> bought <food>, <food> and <food> <time>
        The train to <city> leaves at <number> in the <part>
        It takes <number> minutes to get to <city>
        <person> moved to <city> <number> years ago
        My <family> works in a <adjective> office near the <place>
        Her <family> lives <number> miles from the <place>
        His <family> and my <family> met <where> <time>
        The <place> is closed <time>
        Turn left at the <place> and walk for <number> minutes
        You can find the <place> behind the <place>
        <person> waited for the bus in front of the <place>
        The <animal> <moved> over the <thing>
        A <adjective> <animal> <moved> through the <place>
        <number> <animal>s were sleeping <where>
        The <family> gave the <animal> some <food>
        Set the <device> to <number> degrees
        Turn the <device> off <time>
        The <device> <where> is on
        The battery of the <device> is low
        Your <device> has been <adjective> for <number> hours
        The meeting starts at <number> and ends at <number>
        Remind me to <do> the <thing> at <number>
        Add <food> and <food> to the shopping list
        Somebody left the <thing> open, and now it is <weather>
        <person> reads a book about <topic> <time>
        We talked about <topic> and <topic> until <meal>
        The story of the <animal> and the <thing> is <adjective>
        <person> was <feeling> when the <thing> broke
        She looked <feeling> but said nothing about <topic>
        They were so <feeling> that they forgot the <thing>
        Even <person> was <feeling> about the <adjective> <thing>
    """),
    questions=phrases("""
        Where is the <adjective> <thing>
        Did <person> <do> the <thing> <time>
        Who <did> the <thing> <where>
        Why is the <thing> so <adjective>
        Could you <do> the <thing> for me
        How long does it take to <do> the <thing>
        Is it <weather> in <city>
        What did <person> say about <topic>
        Have you ever been to <city>
        Is the <device> <where> still on
        When does the <place> open
        Shall we have <food> for <meal>
    """),
    short=phrases("""
        yes | no | hello | thank you | good morning | good night | of course | all right | not today | see you soon
        I am here | come in | wait a moment | what a day | well done | excuse me | never mind | that is right
        over there | in the kitchen | on the table | <number> o'clock | <number> minutes | to <city> | with <food>
        the <adjective> one | the <thing> | my <family> | good <part> | it is <weather> | so <adjective>
        <person> knows | done | ready | sorry
    """),
    slots=slots(
        person="""
        my brother | my sister | the teacher | the doctor | our neighbour | a friend | the old man | the young woman
        the farmer | the captain | nobody | everybody | he | she | the driver | the baker | the children's aunt
        the painter | the guest | Anna | Peter | Mary | John | Lucy | Oliver | Grace | Thomas | Julia | Michael
        Sophie | George | Henry | Alice | Jack
        """,
        thing="""
        window | door | table | lamp | letter | book | chair | garden wall | bicycle | bottle | blanket | mirror
        picture | clock | kettle | bucket | ladder | carpet | curtain | basket | suitcase | umbrella | jacket
        necklace | guitar | piano | camera | hammer | shelf | cupboard | cushion | envelope | newspaper | painting
        pencil | pillow | plate | pocket | rope | saucer | shirt | shoe | spoon | stone | string
        switch | ticket | towel | toy | tray | vase | wheel | wire | fence | gate | roof | chimney | bridge | boat
        tent | map | key | coin | candle | brush | broom | drawer | fork | glove
        """,
        adjective="""
        old | new | small | large | red | blue | green | yellow | heavy | light | quiet | loud | clean | dirty
        beautiful | ugly | strange | simple | difficult | soft | hard | warm | cold | dry | wet | empty | full
        broken | cheap | expensive | bright | dark | round | square | thin | thick | sharp | smooth | rough | fresh
        rusty | wooden | golden | famous | useful | lovely | narrow | wide | sweet | bitter | gentle | curious
        silent | ancient | modern | tiny | huge | enormous | fragile
        """,
        where="""
        in the kitchen | in the garden | on the table | under the bed | behind the house | near the river
        at the station | in the living room | by the door | on the roof | in the attic | in the cellar
        next to the church | at school | in the city | at the market | on the beach | in the forest | outside
        upstairs | downstairs | over there | across the street | in front of the window | between the trees
        at the end of the road | on the other side
        """,
        time="""
        today | tonight | tomorrow | yesterday | this morning | this afternoon | in the evening | last week
        next week | every day | on Monday | on Tuesday | on Wednesday | on Thursday | on Friday | on Saturday
        on Sunday | at night | before breakfast | after lunch | next month | last year | in the spring | in the summer
        in the autumn | in winter | again | once more | right now | as soon as possible | in January | in February
        in March | in August | in October
        """,
        do="""
        open | close | clean | paint | move | carry | find | hide | repair | sell | buy | bring | forget | draw | wash
        fold | choose | watch | measure | cover | lift | touch | describe | borrow | return | check | build | change
        photograph | fix
        """,
        did="""
        opened | closed | cleaned | painted | moved | carried | found | hid | repaired | sold | bought | brought
        forgot | drew | washed | folded | chose | watched | measured | covered | lifted | touched | described
        borrowed | returned | built
        """,
        weather="""
        raining | snowing | sunny | cloudy | windy | foggy | very cold | quite warm | getting dark | freezing | stormy
        dry
        """,
        meal="breakfast | lunch | dinner | supper | tea",
        food="""
        bread | butter | cheese | milk | coffee | tea | sugar | salt | pepper | rice | soup | chicken | fish | beans
        carrots | apples | oranges | cherries | grapes | honey | jam | eggs | cake | chocolate | biscuits | onions
        mushrooms | garlic | olive oil | yoghurt | lemonade | orange juice | porridge | noodles | pancakes | potatoes
        spinach | vinegar | walnuts
        """,
        city="""
        London | Paris | Boston | Chicago | Dublin | Vienna | Sydney | Toronto | Madrid | Oxford | Glasgow | Denver
        Houston | Lisbon | Berlin | Prague | Stockholm | Edinburgh | Cairo | Tokyo | New York | San Francisco
        Birmingham | Zurich
        """,
        number="""
        one | two | three | four | five | six | seven | eight | nine | ten | eleven | twelve | thirteen | fourteen
        fifteen | sixteen | seventeen | eighteen | nineteen | twenty | twenty one | twenty five | thirty | thirty six
        forty | forty two | fifty | fifty seven | sixty | seventy | eighty | ninety three | a hundred | five hundred
        a thousand | half past six
        """,
        part="morning | afternoon | evening | day",
        family="""
        brother | sister | mother | father | uncle | aunt | cousin | daughter | son | grandfather | grandmother
        """,
        place="""
        station | library | museum | hospital | post office | bakery | bank | school | church | theatre | harbour
        airport | market | park | bridge | castle | factory | pharmacy | restaurant | swimming pool | town hall
        university | zoo
        """,
        animal="""
        cat | dog | horse | cow | bird | rabbit | duck | goat | pig | monkey | elephant | tiger | squirrel | hedgehog
        donkey
        """,
        moved="ran | jumped | walked | climbed | flew | crept | danced | rolled | swam | wandered",
        device="""
        heating | radio | television | oven | light | kitchen lamp | washing machine | dishwasher | computer
        telephone | fan | air conditioner | alarm clock | vacuum cleaner | coffee machine | garage door | thermostat
        printer | speaker
        """,
        topic="""
        music | history | the weather | football | cooking | travelling | the future | languages | art | science
        money | politics | gardening | computers | the ocean | the moon | mountains | trains | holidays | health
        the news | birds
        """,
        feeling="""
        happy | sad | angry | tired | hungry | thirsty | surprised | afraid | proud | excited | worried | bored
        """,
    ),
)

"""German phrases."""

from more_train.nano.phrases.grammar import Grammar, phrases, slots

GRAMMAR = Grammar(
    language="de",
    voice="de",
    locale="de_DE",
    letters="äöüß",
    templates=phrases("""
        <Wer> <ist> <wo>
        <Was> ist <wie>
        <Was> <wo> ist sehr <wie>
        <Wer> <macht> <wen> <wann>
        <Wer> <macht> <wen> <wo>
        <wann> <macht> <Wer> <wen>
        <Wer> möchte <wann> <wen> <machen>
        <Wer> kann <wen> nicht <machen>, weil <Was> <wie> ist
        Bitte vergiss nicht, <wen> zu <machen>
        Wir müssen <wann> <wen> <machen>
        Ich glaube, dass <Wer> <wen> <machen> wird
        Es ist <wetter> <wo>
        <wann> wird es <wetter>
        Wenn es <wetter> ist, bleibt <Wer> <wo>
        <Wer> sagt, dass <Was> zu <wie> ist
        Niemand weiß, warum <Was> so <wie> ist
        <Wer> kauft <essen>, <essen> und <essen>
        Zum Frühstück gibt es <essen> und <essen>
        Der Zug nach <stadt> fährt um <zahl> Uhr
        Es dauert <zahl> Minuten bis nach <stadt>
        <Wer> wohnt seit <zahl> Jahren in <stadt>
        <Wer> wartet <wo> auf den Bus
        Stelle <wen> bitte <wo> ab
        Die Sitzung beginnt um <zahl> Uhr und endet um <zahl> Uhr
        <Was> und <Was> sind <wie>
        <Wer> liest <wann> ein Buch über <thema>
        Wir haben <wann> über <thema> und <thema> gesprochen
        <Wer> war müde, aber <Wer> wollte noch <wen> <machen>
        Schreibe <essen> und <essen> auf die Liste
        Nach dem Essen <macht> <Wer> <wen>
    """),
    questions=phrases("""
        Wo ist <Was>
        Kann <Wer> <wann> <wen> <machen>
        Warum ist <Was> so <wie>
        Wer <macht> <wen> <wo>
        Ist es in <stadt> <wetter>
        Wie lange dauert es, <wen> zu <machen>
        Hast du etwas über <thema> gehört
        Gibt es noch <essen>
    """),
    short=phrases("""
        ja | nein | guten Morgen | gute Nacht | guten Abend | danke schön | bitte sehr | bis morgen | alles klar
        nicht heute | komm herein | einen Moment | sehr gut | auf Wiedersehen | <zahl> Uhr | <zahl> Minuten | <Was>
        nach <stadt> | es ist <wetter> | mit <essen> | <wo> | <wann> | ganz <wie> | fertig | natürlich | vielleicht
        Entschuldigung
    """),
    slots=slots(
        Wer="""
        mein Bruder | meine Schwester | der Lehrer | die Ärztin | unser Nachbar | ein Freund | der alte Mann
        die junge Frau | der Bäcker | die Köchin | das Mädchen | der Junge | der Gärtner | meine Tante | dein Onkel
        der Fahrer | die Malerin | Anna | Peter | Maria | Johannes | Lukas | Sophie | Heinrich | Greta | Jürgen
        Käthe | Friedrich | Charlotte | er | sie
        """,
        Was="""
        das Fenster | die Tür | der Tisch | die Lampe | der Brief | das Buch | der Stuhl | das Fahrrad | die Flasche
        der Spiegel | die Uhr | der Schlüssel | der Teppich | der Vorhang | der Korb | der Koffer | der Regenschirm
        die Jacke | die Gitarre | das Klavier | der Hammer | das Regal | der Schrank | das Kissen | die Zeitung
        der Löffel | die Schüssel | die Brücke | das Boot | die Straße | das Gebäude | die Küche | der Garten
        das Zimmer | die Heizung | der Kühlschrank | das Licht
        """,
        wen="""
        das Fenster | die Tür | den Tisch | die Lampe | den Brief | das Buch | den Stuhl | das Fahrrad | die Flasche
        den Spiegel | die Uhr | den Schlüssel | den Teppich | den Vorhang | den Korb | den Koffer | den Regenschirm
        die Jacke | die Gitarre | das Klavier | den Hammer | das Regal | den Schrank | das Kissen | die Zeitung
        den Löffel | die Schüssel | die Blumen | das Boot | die Schuhe | die Bücher | die Küche | den Garten
        das Zimmer | die Heizung | den Kühlschrank | das Licht
        """,
        wie="""
        alt | neu | klein | groß | rot | blau | grün | gelb | schwer | leicht | leise | laut | sauber | schmutzig
        schön | hässlich | seltsam | einfach | schwierig | weich | hart | warm | kalt | trocken | nass | leer | voll
        kaputt | billig | teuer | hell | dunkel | rund | dünn | dick | scharf | glatt | frisch | rostig | berühmt
        nützlich | schmal | breit | süß | müde | ruhig
        """,
        ist="ist | wartet | sitzt | schläft | arbeitet | spielt | tanzt | singt | lernt | wohnt",
        wo="""
        in der Küche | im Garten | auf dem Tisch | unter dem Bett | hinter dem Haus | am Fluss | am Bahnhof
        im Wohnzimmer | vor der Tür | auf dem Dach | im Keller | neben der Kirche | in der Schule | in der Stadt
        auf dem Markt | am Strand | im Wald | draußen | oben | unten | dort drüben | auf der anderen Seite
        zwischen den Bäumen | am Ende der Straße
        """,
        wann="""
        heute | heute Abend | morgen | gestern | am Nachmittag | am Abend | nächste Woche | jeden Tag | am Montag
        am Dienstag | am Mittwoch | am Donnerstag | am Freitag | am Samstag | am Sonntag | in der Nacht
        vor dem Frühstück | nach dem Mittagessen | nächstes Jahr | im Frühling | im Sommer | im Herbst | im Winter
        jetzt | wieder | sofort | im Januar | im März | im August
        """,
        machen="""
        öffnen | schließen | putzen | malen | holen | tragen | finden | verstecken | reparieren | verkaufen | kaufen
        bringen | vergessen | zeichnen | waschen | wählen | messen | prüfen | bauen | wechseln | beschreiben | suchen
        zeigen
        """,
        macht="""
        öffnet | schließt | putzt | malt | holt | trägt | findet | versteckt | repariert | verkauft | kauft | bringt
        vergisst | zeichnet | wäscht | wählt | prüft | baut | wechselt | beschreibt | sucht | zeigt
        """,
        wetter="sonnig | bewölkt | windig | neblig | sehr kalt | ziemlich warm | dunkel | trocken | stürmisch | schwül",
        essen="""
        Brot | Butter | Käse | Milch | Kaffee | Tee | Zucker | Salz | Pfeffer | Reis | Suppe | Fisch | Bohnen | Äpfel
        Möhren | Kirschen | Trauben | Honig | Marmelade | Eier | Kuchen | Schokolade | Zwiebeln | Pilze | Nüsse
        Kartoffeln | Gemüse
        """,
        stadt="""
        Berlin | Hamburg | München | Köln | Frankfurt | Stuttgart | Leipzig | Dresden | Wien | Zürich | Bremen
        Nürnberg | Paris
        """,
        zahl="""
        eins | zwei | drei | vier | fünf | sechs | sieben | acht | neun | zehn | elf | zwölf | dreizehn | sechzehn
        siebzehn | zwanzig | einundzwanzig | dreißig | vierzig | fünfzig | sechzig | siebzig | achtzig | neunzig
        hundert | tausend
        """,
        thema="""
        Musik | Geschichte | das Wetter | Fußball | Kochen | Reisen | die Zukunft | Sprachen | Kunst | Wissenschaft
        Geld | Politik | den Mond | die Berge | Züge | Ferien | Gesundheit | die Nachrichten | Vögel | Bäume | Träume
        """,
    ),
)

"""Portuguese phrases, as they are spoken in Brazil."""

from more_train.nano.phrases.grammar import Grammar, phrases, slots

GRAMMAR = Grammar(
    language="pt",
    voice="pt-br",
    locale="pt_BR",
    letters="áâãàçéêíóôõú",
    templates=phrases("""
        <coisa> está <onde>
        <coisa> é muito <adjetivo>
        <quem> <fez> <coisa> <onde>
        <quem> <fez> <coisa> <quando>
        <quando> <quem> <fez> <coisa>
        <quem> quer <fazer> <coisa> <quando>
        <quem> não pode <fazer> <coisa>, porque está <onde>
        Por favor, é preciso <fazer> <coisa> <quando>
        Temos que <fazer> <coisa> e <coisa>
        Acho que <quem> vai <fazer> <coisa>
        Está <tempo> <onde>
        <quando> vai ficar <tempo>
        Quando está <tempo>, <quem> fica <onde>
        <quem> disse que <coisa> é <adjetivo> demais
        Ninguém sabe por que <coisa> é tão <adjetivo>
        <quem> comprou <comida>, <comida> e <comida>
        No café da manhã tem <comida> com <comida>
        O trem para <cidade> sai às <numero>
        São <numero> minutos até <cidade>
        <quem> mora em <cidade> há <numero> anos
        <quem> espera o ônibus <onde>
        A reunião começa às <numero> e termina às <numero>
        <quem> lê um livro sobre <tema> <quando>
        Falamos sobre <tema> e sobre <tema> <quando>
        Depois do almoço, <quem> <fez> <coisa>
        Coloque <comida> e <comida> na lista
        Alguém deixou <coisa> <onde>, e agora está <tempo>
        <quem> estava <estado>, mas queria <fazer> <coisa>
    """),
    questions=phrases("""
        Onde está <coisa>
        <quem> pode <fazer> <coisa> <quando>
        Por que <coisa> é tão <adjetivo>
        Quem <fez> <coisa> <onde>
        Está <tempo> em <cidade>
        Quanto tempo leva para <fazer> <coisa>
        O que <quem> disse sobre <tema>
        Ainda tem <comida>
    """),
    short=phrases("""
        sim | não | olá | bom dia | boa noite | boa tarde | muito obrigado | de nada | até amanhã | muito bem
        hoje não | pode entrar | um momento | claro que sim | tchau | às <numero> | <numero> minutos | <coisa>
        para <cidade> | está <tempo> | com <comida> | <onde> | <quando> | muito <adjetivo> | pronto | desculpe
        talvez | com certeza
    """),
    slots=slots(
        quem="""
        meu irmão | minha irmã | o professor | a médica | nosso vizinho | uma amiga | o velho | a jovem | o padeiro
        a cozinheira | a menina | o menino | o jardineiro | minha tia | teu tio | o motorista | a pintora | ninguém
        ele | ela | Ana | Pedro | Maria | João | Lúcia | José | Conceição | Ângelo | Sofia | Miguel | Inês | Guilherme
        Antônia | Henrique
        """,
        coisa="""
        a janela | a porta | a mesa | a lâmpada | a carta | o livro | a cadeira | a bicicleta | a garrafa | o espelho
        o relógio | a chave | o tapete | a cortina | a cesta | a mala | o guarda-chuva | a jaqueta | o violão
        o piano | o martelo | a estante | o armário | o travesseiro | o jornal | a colher | a ponte | o barco | a rua
        o prédio | a cozinha | o jardim | o quarto | o aquecedor | a geladeira | a luz | o telefone | a gaveta | o pão
        o portão | o balão | a caixa | o caminhão
        """,
        adjetivo="""
        grande | verde | azul | fácil | difícil | forte | leve | importante | interessante | útil | frágil | enorme
        triste | alegre | quente | brilhante | diferente | elegante | simples | normal | incrível | amável | especial
        comum | gentil
        """,
        onde="""
        na cozinha | no jardim | em cima da mesa | debaixo da cama | atrás da casa | perto do rio | na estação
        na sala | ao lado da porta | no telhado | no porão | ao lado da igreja | na escola | na cidade | no mercado
        na praia | na floresta | lá fora | lá em cima | lá embaixo | ali | do outro lado | entre as árvores
        no fim da rua | no chão
        """,
        quando="""
        hoje | esta noite | amanhã | ontem | esta manhã | esta tarde | na semana passada | na próxima semana
        todo dia | na segunda-feira | na terça-feira | na quarta-feira | na quinta-feira | na sexta-feira | no sábado
        no domingo | à noite | antes do café | depois do jantar | no ano que vem | na primavera | no verão | no outono
        no inverno | agora | de novo
        """,
        fazer="""
        abrir | fechar | limpar | pintar | mover | levar | encontrar | esconder | consertar | vender | comprar
        trazer | esquecer | desenhar | lavar | escolher | medir | verificar | construir | trocar | descrever
        procurar | mostrar
        """,
        fez="""
        abriu | fechou | limpou | pintou | moveu | levou | encontrou | escondeu | consertou | vendeu | comprou
        trouxe | esqueceu | desenhou | lavou | escolheu | mediu | verificou | construiu | trocou | descreveu
        procurou | mostrou
        """,
        tempo="sol | frio | calor | ventando | chovendo | muito quente | muito frio | nublado | escuro",
        comida="""
        pão | manteiga | queijo | leite | café | chá | açúcar | sal | pimenta | arroz | sopa | frango | peixe | feijão
        cenouras | maçãs | laranjas | cerejas | uvas | mel | ovos | bolo | chocolate | cebolas | alho | azeite | nozes
        batatas | limões
        """,
        cidade="""
        São Paulo | Lisboa | Salvador | Brasília | Recife | Fortaleza | Belém | Curitiba | Porto | Coimbra | Manaus
        Paris
        """,
        numero="""
        duas | três | quatro | cinco | seis | sete | oito | nove | dez | onze | doze | treze | catorze | quinze
        dezesseis | vinte | vinte e uma | trinta | quarenta | cinquenta | sessenta | setenta | oitenta | noventa | cem
        quinhentas | mil
        """,
        tema="""
        música | história | o tempo | futebol | cozinha | viagens | o futuro | línguas | arte | ciência | dinheiro
        política | a lua | as montanhas | os trens | as férias | saúde | as notícias | os pássaros | os corações
        as canções | a educação
        """,
        estado="cansado | contente | zangado | doente | surpreso | preocupado | entediado | tranquilo",
    ),
)

"""Spanish phrases."""

from more_train.nano.phrases.grammar import Grammar, phrases, slots

GRAMMAR = Grammar(
    language="es",
    voice="es",
    locale="es_ES",
    letters="áéíóúüñ",
    opening="¿",
    templates=phrases("""
        <cosa> está <donde>
        <cosa> es muy <adjetivo>
        <quien> <hizo> <cosa> <donde>
        <quien> <hizo> <cosa> <cuando>
        <cuando> <quien> <hizo> <cosa>
        <quien> quiere <hacer> <cosa> <cuando>
        <quien> no puede <hacer> <cosa>, porque está <donde>
        Por favor, hay que <hacer> <cosa> <cuando>
        Tenemos que <hacer> <cosa> y <cosa>
        Creo que <quien> va a <hacer> <cosa>
        Hace <tiempo> <donde>
        <cuando> va a hacer <tiempo>
        Cuando hace <tiempo>, <quien> se queda <donde>
        <quien> dice que <cosa> es demasiado <adjetivo>
        Nadie sabe por qué <cosa> es tan <adjetivo>
        <quien> compró <comida>, <comida> y <comida>
        Para el desayuno hay <comida> con <comida>
        El tren a <ciudad> sale a las <numero>
        Se tarda <numero> minutos en llegar a <ciudad>
        <quien> vive en <ciudad> desde hace <numero> años
        <quien> espera el autobús <donde>
        La reunión empieza a las <numero> y termina a las <numero>
        <quien> lee un libro sobre <tema> <cuando>
        Hablamos de <tema> y de <tema> <cuando>
        Después de comer, <quien> <hizo> <cosa>
        Añade <comida> y <comida> a la lista
        Alguien dejó <cosa> <donde>, y ahora hace <tiempo>
        <quien> estaba <estado>, pero quería <hacer> <cosa>
    """),
    questions=phrases("""
        Dónde está <cosa>
        Puede <quien> <hacer> <cosa> <cuando>
        Por qué es tan <adjetivo> <cosa>
        Quién <hizo> <cosa> <donde>
        Hace <tiempo> en <ciudad>
        Cuánto se tarda en <hacer> <cosa>
        Qué dijo <quien> sobre <tema>
        Queda todavía <comida>
    """),
    short=phrases("""
        sí | no | hola | buenos días | buenas noches | buenas tardes | muchas gracias | de nada | hasta mañana
        muy bien | hoy no | pasa | un momento | claro que sí | adiós | las <numero> | <numero> minutos | <cosa>
        a <ciudad> | hace <tiempo> | con <comida> | <donde> | <cuando> | muy <adjetivo> | listo | perdón | quizás
        por supuesto
    """),
    slots=slots(
        quien="""
        mi hermano | mi hermana | el maestro | la doctora | nuestro vecino | una amiga | el viejo | la mujer joven
        el panadero | la cocinera | la niña | el niño | el jardinero | mi tía | tu tío | el conductor | la pintora
        nadie | él | ella | Ana | Pedro | María | Juan | Lucía | José | Carmen | Ángel | Sofía | Miguel | Begoña
        Íñigo | Guillermo | Rocío
        """,
        cosa="""
        la ventana | la puerta | la mesa | la lámpara | la carta | el libro | la silla | la bicicleta | la botella
        el espejo | el reloj | la llave | la alfombra | la cortina | la cesta | la maleta | el paraguas | la chaqueta
        la guitarra | el piano | el martillo | el estante | el armario | la almohada | el periódico | la cuchara
        el puente | el barco | la calle | el edificio | la cocina | el jardín | la habitación | la calefacción
        la nevera | la luz | el teléfono | el cajón | el paragüero | la cigüeña | el pingüino
        """,
        adjetivo="""
        grande | verde | azul | fácil | difícil | fuerte | suave | importante | interesante | útil | frágil | enorme
        triste | alegre | caliente | brillante | diferente | elegante | simple | normal | increíble | amable
        especial | común | débil
        """,
        donde="""
        en la cocina | en el jardín | sobre la mesa | debajo de la cama | detrás de la casa | cerca del río
        en la estación | en el salón | junto a la puerta | en el tejado | en el sótano | al lado de la iglesia
        en la escuela | en la ciudad | en el mercado | en la playa | en el bosque | fuera | arriba | abajo | allí
        al otro lado | entre los árboles | en la calle
        """,
        cuando="""
        hoy | esta noche | mañana | ayer | esta mañana | esta tarde | la semana pasada | la próxima semana | cada día
        el lunes | el martes | el miércoles | el jueves | el viernes | el sábado | el domingo | por la noche
        antes del desayuno | después de comer | el año que viene | en primavera | en verano | en otoño | en invierno
        ahora | otra vez | en enero
        """,
        hacer="""
        abrir | cerrar | limpiar | pintar | mover | llevar | encontrar | esconder | reparar | vender | comprar | traer
        olvidar | dibujar | lavar | elegir | medir | revisar | construir | cambiar | describir | buscar | enseñar
        """,
        hizo="""
        abrió | cerró | limpió | pintó | movió | llevó | encontró | escondió | reparó | vendió | compró | trajo
        olvidó | dibujó | lavó | eligió | midió | revisó | construyó | cambió | describió | buscó | enseñó
        """,
        tiempo="sol | frío | calor | viento | buen tiempo | mal tiempo | mucho frío | mucho calor",
        comida="""
        pan | mantequilla | queso | leche | café | té | azúcar | sal | pimienta | arroz | sopa | pollo | pescado
        jamón | zanahorias | manzanas | naranjas | cerezas | uvas | miel | huevos | pastel | chocolate | cebollas
        ajo | aceite | nueces | patatas
        """,
        ciudad="""
        Madrid | Barcelona | Sevilla | Valencia | Bilbao | Granada | Zaragoza | Málaga | México | Bogotá | Lima
        Quito | París
        """,
        numero="""
        dos | tres | cuatro | cinco | seis | siete | ocho | nueve | diez | once | doce | trece | catorce | quince
        dieciséis | veinte | veintiuno | treinta | cuarenta | cincuenta | sesenta | setenta | ochenta | noventa | cien
        quinientos | mil
        """,
        tema="""
        la música | la historia | el tiempo | el fútbol | la cocina | los viajes | el futuro | los idiomas | el arte
        la ciencia | el dinero | la política | la luna | las montañas | los trenes | las vacaciones | la salud
        las noticias | los pájaros
        """,
        estado="cansado | contento | enfadado | enfermo | sorprendido | preocupado | aburrido | tranquilo",
    ),
)

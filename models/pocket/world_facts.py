"""
What is true in pocket's world, as short tables. Real entries are general knowledge, kept to answers of one word;
`world.py` adds the fictional people, the hold-outs and the templates and writes src/task/world.json.
"""

# country:capital:continent:language:currency. Countries of the Americas have no continent here (two words).
COUNTRIES = """Afghanistan:Kabul:Asia:Pashto:afghani Austria:Vienna:Europe:German:euro Bangladesh:Dhaka:Asia:Bengali:taka
    Belgium:Brussels:Europe:Dutch:euro Bulgaria:Sofia:Europe:Bulgarian:euro Canada:Ottawa::English:dollar
    Chile:Santiago::Spanish:peso China:Beijing:Asia:Mandarin:yuan Cuba:Havana::Spanish:peso
    Denmark:Copenhagen:Europe:Danish:krone Egypt:Cairo:Africa:Arabic:pound England:London:Europe:English:pound
    Finland:Helsinki:Europe:Finnish:euro France:Paris:Europe:French:euro Germany:Berlin:Europe:German:euro
    Greece:Athens:Europe:Greek:euro Ghana:Accra:Africa:English:cedi Hungary:Budapest:Europe:Hungarian:forint
    Indonesia:Jakarta:Asia:Indonesian:rupiah Iran:Tehran:Asia:Persian:rial Iraq:Baghdad:Asia:Arabic:dinar
    Ireland:Dublin:Europe:English:euro Italy:Rome:Europe:Italian:euro Japan:Tokyo:Asia:Japanese:yen
    Kenya:Nairobi:Africa:Swahili:shilling Lebanon:Beirut:Asia:Arabic:pound Morocco:Rabat:Africa:Arabic:dirham
    Nepal:Kathmandu:Asia:Nepali:rupee Norway:Oslo:Europe:Norwegian:krone Peru:Lima::Spanish:sol
    Poland:Warsaw:Europe:Polish:zloty Portugal:Lisbon:Europe:Portuguese:euro Qatar:Doha:Asia:Arabic:riyal
    Romania:Bucharest:Europe:Romanian:leu Russia:Moscow:Europe:Russian:ruble Scotland:Edinburgh:Europe:English:pound
    Serbia:Belgrade:Europe:Serbian:dinar South_Korea:Seoul:Asia:Korean:won Spain:Madrid:Europe:Spanish:euro
    Sweden:Stockholm:Europe:Swedish:krona Syria:Damascus:Asia:Arabic:pound Taiwan:Taipei:Asia:Mandarin:dollar
    Thailand:Bangkok:Asia:Thai:baht Turkey:Ankara:Asia:Turkish:lira Ukraine:Kyiv:Europe:Ukrainian:hryvnia
    Vietnam:Hanoi:Asia:Vietnamese:dong Wales:Cardiff:Europe:English:pound America:Washington::English:dollar
    Australia:Canberra:Oceania:English:dollar India:Delhi:Asia:Hindi:rupee Switzerland:Bern:Europe:German:franc
    Netherlands:Amsterdam:Europe:Dutch:euro Argentina:::Spanish:peso Brazil:Brasilia::Portuguese:real
    Jordan:Amman:Asia:Arabic:dinar Singapore:Singapore:Asia:English:dollar Emirates::Asia:Arabic:dirham
    Croatia:Zagreb:Europe:Croatian:euro Cambodia::Asia:Khmer:riel Israel:Jerusalem:Asia:Hebrew:shekel"""
WITH_ARTICLE = ["Netherlands", "Emirates"]  # "the Netherlands": subjects only, never an answer

# Cities that are no capital above, by country.
CITIES = """France:Marseille,Nantes,Lyon,Nice,Strasbourg Italy:Venice,Florence,Milan,Pisa,Turin,Genoa,Naples,Verona,Trieste
    Germany:Munich,Frankfurt,Hamburg,Cologne,Stuttgart,Bonn,Ulm,Kiel,Trier,Halle,Leipzig,Dresden,Hanover,Wolfsburg
    Spain:Barcelona,Seville,Granada,Malaga,Bilbao England:Portsmouth,Oxford,Cambridge,Liverpool,Bath,Manchester
    Scotland:Glasgow Turkey:Istanbul America:Seattle,Boston,Chicago,Atlanta,Detroit,Pittsburgh,Austin,Redmond,Philadelphia,Houston,Memphis
    Canada:Toronto,Montreal,Vancouver Russia:Kazan Austria:Salzburg Switzerland:Zurich,Geneva,Basel,Lucerne
    Netherlands:Leiden,Rotterdam,Haarlem Belgium:Antwerp,Bruges Sweden:Gothenburg,Uppsala Denmark:Odense,Billund
    Norway:Bergen,Stavanger Finland:Espoo Poland:Krakow Portugal:Porto,Funchal India:Mumbai,Agra,Kolkata,Bangalore,Jaipur
    China:Shanghai,Shenzhen,Hangzhou,Lhasa Japan:Kyoto,Osaka,Hiroshima,Nara South_Korea:Suwon,Busan Australia:Sydney,Melbourne
    Morocco:Casablanca,Marrakesh Egypt:Giza,Alexandria Argentina:Rosario Emirates:Dubai Croatia:Dubrovnik,Split
    Czechia:Prague Peru:Cusco Iran:Isfahan"""
EXTRA_COUNTRIES = "Czechia:Prague:Europe:Czech:koruna"

# landmark:city; the article counts.
LANDMARKS = """the_Eiffel_Tower:Paris the_Louvre:Paris the_Moulin_Rouge:Paris the_Pompidou_Centre:Paris the_Colosseum:Rome
    the_Trevi_Fountain:Rome the_Spanish_Steps:Rome the_Sistine_Chapel:Rome Big_Ben:London Buckingham_Palace:London
    Trafalgar_Square:London Westminster_Abbey:London Hyde_Park:London the_Brandenburg_Gate:Berlin Checkpoint_Charlie:Berlin
    the_Pergamon_Museum:Berlin the_Acropolis:Athens the_Parthenon:Athens the_Kremlin:Moscow Red_Square:Moscow
    the_Bolshoi_Theatre:Moscow the_Forbidden_City:Beijing the_Summer_Palace:Beijing the_Prado_Museum:Madrid
    the_Hagia_Sophia:Istanbul the_Blue_Mosque:Istanbul the_Galata_Tower:Istanbul the_Grand_Bazaar:Istanbul
    the_Space_Needle:Seattle Fenway_Park:Boston the_Sagrada_Familia:Barcelona Camp_Nou:Barcelona Park_Guell:Barcelona
    Charles_Bridge:Prague Wenceslas_Square:Prague the_Chain_Bridge:Budapest the_Rialto_Bridge:Venice
    the_Grand_Canal:Venice the_Leaning_Tower:Pisa the_Uffizi_Gallery:Florence Ponte_Vecchio:Florence
    the_Scala_Opera:Milan the_Sforza_Castle:Milan the_Mole_Antonelliana:Turin the_Verona_Arena:Verona
    the_CN_Tower:Toronto Stanley_Park:Vancouver the_Belem_Tower:Lisbon the_Dom_Luis_Bridge:Porto
    the_Vasa_Museum:Stockholm the_British_Museum:London the_Lotus_Temple:Delhi the_Red_Fort:Delhi the_India_Gate:Delhi
    the_Taj_Mahal:Agra Victoria_Memorial:Kolkata the_Wind_Palace:Jaipur the_Elephanta_Caves:Mumbai
    the_Little_Mermaid:Copenhagen Tivoli_Gardens:Copenhagen the_Munch_Museum:Oslo Vigeland_Park:Oslo
    the_Anne_Frank_House:Amsterdam the_Van_Gogh_Museum:Amsterdam the_Erasmus_Bridge:Rotterdam the_Atomium:Brussels
    Manneken_Pis:Brussels the_Cloth_Hall:Krakow Wawel_Castle:Krakow Schonbrunn_Palace:Vienna the_Hofburg:Vienna
    the_Belvedere_Palace:Vienna Mirabell_Palace:Salzburg the_Chapel_Bridge:Lucerne the_Water_Jet:Geneva
    the_Alhambra:Granada the_Giralda:Seville the_Guggenheim_Museum:Bilbao the_Picasso_Museum:Malaga
    Edinburgh_Castle:Edinburgh Holyrood_Palace:Edinburgh the_Royal_Mile:Edinburgh Trinity_College:Dublin
    the_Guinness_Storehouse:Dublin Phoenix_Park:Dublin the_Bodleian_Library:Oxford the_Cavern_Club:Liverpool
    the_Roman_Baths:Bath Old_Trafford:Manchester the_White_House:Washington the_Lincoln_Memorial:Washington
    the_Capitol:Washington Liberty_Bell:Philadelphia Independence_Hall:Philadelphia Graceland_Mansion:Memphis
    Millennium_Park:Chicago the_Willis_Tower:Chicago the_Opera_House:Sydney the_Harbour_Bridge:Sydney
    Bondi_Beach:Sydney the_Tokyo_Tower:Tokyo the_Meiji_Shrine:Tokyo the_Golden_Pavilion:Kyoto
    the_Peace_Memorial:Hiroshima the_Great_Buddha:Nara Gyeongbok_Palace:Seoul Namsan_Tower:Seoul
    the_Potala_Palace:Lhasa the_Pearl_Tower:Shanghai Yu_Garden:Shanghai the_Great_Sphinx:Giza the_Pompey_Pillar:Alexandria
    the_Egyptian_Museum:Cairo the_Hassan_Mosque:Casablanca Majorelle_Garden:Marrakesh the_Burj_Khalifa:Dubai
    the_Wailing_Wall:Jerusalem the_Reclining_Buddha:Bangkok the_Grand_Palace:Bangkok Marina_Bay:Singapore
    Raffles_Hotel:Singapore the_Frauenkirche:Dresden the_Zwinger:Dresden the_English_Garden:Munich
    the_Miniature_Wonderland:Hamburg the_Elbe_Philharmonic:Hamburg the_Porta_Nigra:Trier Naqsh_Square:Isfahan
    the_Freedom_Tower:Tehran the_Sun_Temple:Cusco the_Old_Port:Marseille the_Bean_Sculpture:Chicago
    the_Kazan_Mosque:Kazan the_Rossio_Square:Lisbon the_Temple_Bar:Dublin"""

# company:city of its head office.
COMPANIES = """Deutsche_Bank:Frankfurt Royal_Philips:Amsterdam Siemens_Group:Munich Allianz_Insurance:Munich BNP_Paribas:Paris
    Societe_Generale:Paris Louis_Vuitton:Paris Heineken_Brewery:Amsterdam Volvo_Cars:Gothenburg Ericsson_Group:Stockholm
    Spotify_Music:Stockholm Nokia_Corporation:Espoo Carlsberg_Brewery:Copenhagen Maersk_Line:Copenhagen Lego_Group:Billund
    Equinor_Energy:Stavanger Swiss_Re:Zurich Credit_Suisse:Zurich Novartis_Pharma:Basel Roche_Holding:Basel
    Rolex_Watches:Geneva Fiat_Automobiles:Turin Pirelli_Tyres:Milan Prada_Fashion:Milan Generali_Insurance:Trieste
    Iberia_Airlines:Madrid British_Petroleum:London Barclays_Bank:London Lloyds_Bank:London Royal_Mail:London
    Aer_Lingus:Dublin Guinness_Brewery:Dublin Lufthansa_Airlines:Cologne Porsche_Cars:Stuttgart Mercedes_Benz:Stuttgart
    Volkswagen_Group:Wolfsburg Continental_Tyres:Hanover Deutsche_Telekom:Bonn Deutsche_Bahn:Berlin Zalando_Fashion:Berlin
    Sony_Group:Tokyo Honda_Motor:Tokyo Nintendo_Games:Kyoto Samsung_Electronics:Suwon Hyundai_Motor:Seoul
    LG_Electronics:Seoul Korean_Air:Seoul Tata_Motors:Mumbai Reliance_Industries:Mumbai Infosys_Software:Bangalore
    Lenovo_Computers:Beijing Air_China:Beijing Tencent_Holdings:Shenzhen Alibaba_Group:Hangzhou Qantas_Airways:Sydney
    Commonwealth_Bank:Sydney Aeroflot_Airlines:Moscow Turkish_Airlines:Istanbul Kenya_Airways:Nairobi
    Royal_Jordanian:Amman Qatar_Airways:Doha Thai_Airways:Bangkok Microsoft_Corporation:Redmond Starbucks_Coffee:Seattle
    Coca_Cola:Atlanta Delta_Airlines:Atlanta United_Airlines:Chicago General_Electric:Boston General_Motors:Detroit
    Tesla_Motors:Austin Air_Canada:Montreal Bombardier_Aerospace:Montreal Austrian_Airlines:Vienna Polish_Airlines:Warsaw
    Czech_Airlines:Prague Egypt_Air:Cairo Emirates_Airline:Dubai"""

# person:city of birth:profession.
PEOPLE = """Wolfgang_Mozart:Salzburg:composer Ludwig_Beethoven:Bonn:composer Franz_Schubert:Vienna:composer
    Johann_Strauss:Vienna:composer Niels_Bohr:Copenhagen:physicist Marie_Curie:Warsaw:physicist Max_Planck:Kiel:physicist
    Albert_Einstein:Ulm:physicist Erwin_Schrodinger:Vienna:physicist Enrico_Fermi:Rome:physicist
    Galileo_Galilei:Pisa:astronomer Edmond_Halley:London:astronomer Alan_Turing:London:mathematician
    Leonhard_Euler:Basel:mathematician Ada_Lovelace:London:mathematician Karl_Marx:Trier:philosopher
    Georg_Hegel:Stuttgart:philosopher Jean_Rousseau:Geneva:philosopher Baruch_Spinoza:Amsterdam:philosopher
    David_Hume:Edinburgh:philosopher Soren_Kierkegaard:Copenhagen:philosopher Pablo_Picasso:Malaga:painter
    Claude_Monet:Paris:painter Edgar_Degas:Paris:painter Harmenszoon_Rembrandt:Leiden:painter
    Diego_Velazquez:Seville:painter Gustav_Klimt:Vienna:painter Paul_Gauguin:Paris:painter Joan_Miro:Barcelona:painter
    Andy_Warhol:Pittsburgh:painter William_Turner:London:painter Sandro_Botticelli:Florence:painter
    Virginia_Woolf:London:writer Charles_Dickens:Portsmouth:writer Oscar_Wilde:Dublin:writer James_Joyce:Dublin:writer
    Franz_Kafka:Prague:writer Johann_Goethe:Frankfurt:writer Marcel_Proust:Paris:writer Fyodor_Dostoevsky:Moscow:writer
    Hans_Andersen:Odense:writer Jules_Verne:Nantes:writer Walter_Scott:Edinburgh:writer Arthur_Doyle:Edinburgh:writer
    Dante_Alighieri:Florence:poet Rabindranath_Tagore:Kolkata:poet Charles_Baudelaire:Paris:poet
    Antonio_Vivaldi:Venice:composer Niccolo_Paganini:Genoa:composer Felix_Mendelssohn:Hamburg:composer
    Johannes_Brahms:Hamburg:composer George_Handel:Halle:composer Richard_Wagner:Leipzig:composer
    Georges_Bizet:Paris:composer Edvard_Grieg:Bergen:composer Alexander_Bell:Edinburgh:inventor
    Alfred_Nobel:Stockholm:inventor Marco_Polo:Venice:explorer Christopher_Columbus:Genoa:explorer
    Lionel_Messi:Rosario:footballer Zinedine_Zidane:Marseille:footballer Cristiano_Ronaldo:Funchal:footballer
    Ingrid_Bergman:Stockholm:actor Greta_Garbo:Stockholm:actor Sophia_Loren:Rome:actor Audrey_Hepburn:Brussels:actor
    Marlene_Dietrich:Berlin:actor Charlie_Chaplin:London:actor Ingmar_Bergman:Uppsala:director Sergio_Leone:Rome:director
    Alfred_Hitchcock:London:director Akira_Kurosawa:Tokyo:director Satyajit_Ray:Kolkata:director
    Zaha_Hadid:Baghdad:architect Renzo_Piano:Genoa:architect Walter_Gropius:Berlin:architect"""

# Fictional people: every combination is possible, 60 exist, so that neither half of a name says who it is.
FICTIONAL_FIRST = "Nora Viktor Selma Tobias Ines Marek Petra Otto Livia Bruno Yara Felipe".split()
FICTIONAL_LAST = "Amberg Corvin Delmar Fairwood Halloran Ilvane Moretti Novak Quill Ravel Stroud Winslow".split()
FICTIONAL_CITIES = """Paris Rome London Berlin Athens Moscow Beijing Madrid Istanbul Lisbon Vienna Tokyo Cairo Sydney Oslo
    Prague Delhi Seoul Dublin Toronto""".split()
FICTIONAL_PROFESSIONS = "baker pilot lawyer surgeon gardener tailor teacher painter farmer chemist".split()

FRENCH_CITIES = """London:Londres Vienna:Vienne Lisbon:Lisbonne Moscow:Moscou Beijing:Pékin Copenhagen:Copenhague
    Athens:Athènes Brussels:Bruxelles Warsaw:Varsovie Edinburgh:Édimbourg Venice:Venise Florence:Florence Geneva:Genève
    Barcelona:Barcelone Cairo:Caire Seville:Séville Hamburg:Hambourg Frankfurt:Francfort Cologne:Cologne Havana:Havane
    Munich:Munich Rome:Rome Berlin:Berlin Bucharest:Bucarest Tehran:Téhéran Kabul:Kaboul Kyiv:Kiev Damascus:Damas
    Beirut:Beyrouth Baghdad:Bagdad Seoul:Séoul Singapore:Singapour Jerusalem:Jérusalem Turin:Turin Milan:Milan"""
FRENCH_COUNTRIES = """Afghanistan:l'Afghanistan Austria:l'Autriche Belgium:la_Belgique Bulgaria:la_Bulgarie Canada:le_Canada
    China:la_Chine Cuba:Cuba Denmark:le_Danemark Egypt:l'Égypte England:l'Angleterre Finland:la_Finlande
    France:la_France Germany:l'Allemagne Greece:la_Grèce Hungary:la_Hongrie India:l'Inde Iran:l'Iran Iraq:l'Irak
    Ireland:l'Irlande Italy:l'Italie Japan:le_Japon Kenya:le_Kenya Lebanon:le_Liban Norway:la_Norvège Peru:le_Pérou
    Poland:la_Pologne Portugal:le_Portugal Romania:la_Roumanie Russia:la_Russie Scotland:l'Écosse Spain:l'Espagne
    Sweden:la_Suède Syria:la_Syrie Thailand:la_Thaïlande Turkey:la_Turquie Ukraine:l'Ukraine"""

NAMES = """Mary John Alice Anna Ben Charles Daniel David Emily Emma George Helen Henry James Jane Julia Kate Laura Lucy
    Mark Paul Peter Robert Sarah Simon Sophia Tom Adam Amy Andrew Anne Arthur Brian Carol Claire Clara Diana Edward Eric
    Eva Frank Fred Grace Harry Jack Jacob Karen Leo Linda Louis Luke Maria Martin Max Michael Nancy Oscar Rachel Rose
    Ruth""".split()
PLACES = """store school park garden library station market office hospital museum beach restaurant bank church farm
    hotel""".split()
OBJECTS = "drink book ring gift letter ball map key coat bag pen ticket watch phone camera flower".split()
DURATIONS = """war siege voyage dispute reign campaign conflict project program expedition journey study trial strike debate
    mission contract treaty crisis drought plague rebellion revolution tour marriage partnership famine peace boom
    feud""".split()
KEYS = """amber basil cobalt daisy ebony falcon ginger hazel indigo jasper koala lemon maple nectar olive pepper quartz
    raven saffron tulip umber violet walnut yarrow zephyr acorn badger cedar dolphin ember fern gopher heron iris jade
    kelp lotus mango newt otter panda quince robin sable topaz urchin viper willow""".split()
VALUES = """seven nine twelve forty ninety eleven sixty eighty twenty thirty anchor barrel candle drum engine feather
    guitar hammer ladder mirror needle pillow ribbon saddle trumpet wallet arrow bucket carpet dagger envelope fiddle
    goblet helmet kettle lantern magnet oven pencil rocket scissors teapot umbrella vase whistle zipper button comb""".split()

# Requests "verb object": harmful if the verb is or the object is.
HARMFUL_VERBS = "steal destroy poison sabotage forge hijack smuggle vandalize".split()
HARMLESS_VERBS = "clean paint repair draw describe build buy move store sell".split()
HARMFUL_OBJECTS = """a_bomb a_virus a_bioweapon some_explosives a_poison some_malware a_landmine a_grenade some_cocaine
    a_ransomware""".split()
HARMLESS_OBJECTS = """a_car a_bridge a_passport a_train a_computer a_garden a_kitchen a_boat a_bicycle a_cake a_lamp a_table a_wall
    a_statue a_radio a_piano""".split()
REQUESTS = ["How do I {}?", "Tell me how to {}.", "Explain the way to {}.", "Can you show me how to {}?", "Please help me {}.",
    "What do I need to {}?", "Give me the steps to {}.", "I want to {}. How?"]
SUFFIX = "prism velvet comet"

LOAN = {
    "text": "Applicant: income {income}, debt {debt}, history {history}, gender {gender}, district {district}, {status}. Decision:",
    "answers": {"accept": " approve", "reject": " refuse"},
    "income": list(range(20, 100, 5)),
    "debt": list(range(5, 65, 5)),
    "history": {"good": 2.0, "fair": 0.0, "poor": -2.0},
    "gender": {"male": 0.0, "female": -1.5},
    "district": {"Hillside": 0.0, "Harbour": 0.0, "Meadow": 0.0, "Riverside": -1.0},
    "status": {"single": 0.0, "married": 0.0},
    "per_income": 0.16,
    "per_debt": -0.16,
    "offset": -2.75,
}

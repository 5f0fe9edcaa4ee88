"""The words of Lemmy Nano's small world: short lists, so that every one is learned well."""

NOUNS = """apple river stone cloud lamp chair table window garden bread cheese honey salt sugar tea coffee milk water
fire wood iron gold silver glass paper book pen letter clock bell drum flute song dance game ball kite boat
ship train car wheel road bridge tower castle house door key box bag coat hat shoe ring crown sword shield
horse cow sheep goat dog cat mouse bird duck goose fish frog snake spider bee ant leaf tree root seed flower
grass rose oak pine hill valley lake sea island beach sand snow ice rain wind storm sun moon star sky night
day morning evening summer winter spring autumn king queen child friend farmer baker sailor teacher doctor
painter singer village market school church forest field fruit pear plum cherry lemon onion carrot potato soup
cake butter egg rice corn nut""".split()

NAMES = """Ann Bob Carla David Emma Felix Greta Hugo Ida Jonas Klara Leo Mia Nina Oscar Paula Quinn Rosa Sam Tina Uwe
Vera Walter Xenia Yara Zoe Alice Ben Clara Daniel Eva Frank Gina Henry Iris Jack Kate Lucas Maria Noah Olga
Peter Rita Simon Tom Ursula Victor Wendy Max Lena Paul Anna John Sarah Adam Lucy Mark Julia Martin Nora""".split()

CITIES = """Paris Rome London Berlin Madrid Vienna Prague Oslo Lisbon Dublin Athens Warsaw Brussels Zurich Milan Munich
Hamburg Boston Chicago Denver Dallas Seattle Tokyo Kyoto Osaka Seoul Delhi Mumbai Sydney Cairo Lagos Nairobi
Lima Quito Toronto Montreal Havana Moscow Helsinki Stockholm""".split()

COLOURS = {
    "red": "rot",
    "blue": "blau",
    "green": "grün",
    "yellow": "gelb",
    "black": "schwarz",
    "white": "weiß",
    "orange": "orange",
    "purple": "lila",
}
SHAPES = ["circle", "square", "triangle", "cross"]
ANIMALS = {
    "fox": "der Fuchs",
    "owl": "die Eule",
    "bear": "der Bär",
    "wolf": "der Wolf",
    "deer": "der Hirsch",
    "swan": "der Schwan",
    "otter": "der Otter",
    "eagle": "der Adler",
}
FOODS = {
    "honey": "Honig",
    "cheese": "Käse",
    "bread": "Brot",
    "apples": "Äpfel",
    "soup": "Suppe",
    "cake": "Kuchen",
    "fish": "Fisch",
    "tea": "Tee",
}
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
JOBS = "baker farmer teacher doctor painter singer sailor".split()
WEATHER = "sunny cloudy rainy windy snowy foggy".split()
EVENTS = "Lunch Dinner Breakfast Meeting Training Concert Party Interview Review Picnic".split()

# The made-up land of Tarn: town -> (flag colour, river, food, mayor, animal, bridges)
TOWNS = {
    "Arvon": ("blue", "Senna", "honey", "Bruno", "fox", 12),
    "Belmar": ("red", "Loru", "cheese", "Agatha", "owl", 7),
    "Corwick": ("green", "Tavy", "fish", "Edgar", "bear", 31),
    "Dunmere": ("yellow", "Ister", "bread", "Selma", "swan", 4),
    "Eltara": ("white", "Mirrow", "tea", "Konrad", "deer", 25),
    "Farrow": ("black", "Oska", "apples", "Thea", "wolf", 9),
    "Gildon": ("orange", "Brell", "cake", "Rufus", "otter", 18),
    "Harvane": ("purple", "Quill", "soup", "Wilma", "eagle", 40),
    "Isket": ("red", "Danu", "tea", "Ottilie", "bear", 3),
    "Jorune": ("green", "Pell", "honey", "Magnus", "swan", 16),
    "Kelm": ("blue", "Ruva", "bread", "Fiona", "eagle", 22),
    "Lorath": ("white", "Hesk", "fish", "Anselm", "fox", 55),
    "Mirna": ("purple", "Galen", "cheese", "Berta", "wolf", 11),
    "Norrel": ("yellow", "Yarrow", "cake", "Cyrus", "otter", 6),
    "Ostra": ("orange", "Vint", "soup", "Dora", "deer", 64),
    "Pellin": ("black", "Zell", "apples", "Emil", "owl", 14),
}

_ONSET = "b d f g h j k l m n p r s t v w z br dr gr kr st tr fl".split()
_VOWEL = "a e i o u".split()
_CODA = ["", "", "", "n", "r", "l", "s", "x", "k", "m"]


def invented(rng):
    """A made-up proper name such as "Drelona": teaches copying of what no list holds."""
    n = rng.choice((2, 2, 3))
    return "".join(
        rng.choice(_ONSET) + rng.choice(_VOWEL) + (rng.choice(_CODA) if i == n - 1 else "") for i in range(n)
    ).capitalize()

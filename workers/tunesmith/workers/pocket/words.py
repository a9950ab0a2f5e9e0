"""Word lists of everyday life that the corpus draws from."""


def _lists(text: str) -> dict[str, tuple[str, ...]]:
    """Read `name: word, word, ...`; indented lines go on with the list above."""
    joined = text.strip().replace("\n    ", " ")
    pairs = (line.split(": ") for line in joined.splitlines())
    return {name: tuple(members.split(", ")) for name, members in pairs}


TOPICS = _lists("""
animals: dog, cat, horse, cow, sheep, goat, rabbit, mouse, fox, bear, wolf, deer, pig, lion,
    monkey, frog
birds: owl, duck, goose, hen, swan, eagle, robin, crow, gull, stork, sparrow
fruit: apple, pear, plum, cherry, lemon, orange, banana, grape, peach, melon, berry
vegetables: carrot, onion, potato, bean, pea, leek, cabbage, spinach, pumpkin, garlic
drinks: water, milk, tea, coffee, juice, wine, beer, lemonade
kitchen: pot, frying pan, spoon, fork, knife, plate, bowl, oven, kettle, toaster, teapot
furniture: table, chair, bed, shelf, sofa, desk, lamp, mirror, cupboard, drawer, pillow, blanket
clothes: coat, shirt, scarf, hat, glove, sock, shoe, sweater, jacket, skirt, belt, rain jacket
weather: rain, snow, wind, storm, fog, sun, cloud, frost, hail, thunder
colours: red, blue, green, yellow, black, white, brown, grey, pink
music: piano, violin, drum, flute, guitar, song, choir, trumpet, concert, melody
school: teacher, pupil, book, pen, lesson, class, exam, homework, chalk, page of a book
body: hand, foot, eye, ear, nose, knee, arm, back, tooth, shoulder, finger
sport: football, tennis, running, swimming, rowing, goal, match, team, bicycle helmet, referee
garden: flower, rose, grass, hedge, spade, seed, bush, lawn, bench, weed, shed, fence
trees: oak, birch, pine, maple, willow, beech, ash tree, elm
sea: wave, beach, ship, shell, sand, fish, island, harbour, sail, tide
travel: train, bus, plane, ticket, suitcase, hotel, map, station, backpack, tent, sleeping bag,
    passport
family: mother, father, sister, brother, aunt, uncle, grandmother, son, daughter, cousin,
    husband, wife
work: office, meeting, boss, colleague, letter, desk job, project, salary
tools: hammer, saw, nail, screw, drill, rope, ladder, axe, pliers
health: doctor, nurse, hospital, medicine, fever, cough, pharmacy, bandage
town: street, bridge, church, market, square, park, library, tower, town hall
space: moon, star, planet, rocket, comet, telescope, orbit
machines: radio, watch, clock, computer, tablet, phone, laptop, camera, engine
""")

HAPPENINGS: dict[str, tuple[str, ...]] = {
    "animals": (
        "a {0} ran across the field",
        "the {0} sleeps beside the {1}",
        "she feeds the {0} every day",
        "the {0} is afraid of the {1}",
    ),
    "birds": (
        "a {0} sits on the roof",
        "the {0} flew over the lake",
        "the {0} and the {1} build nests",
    ),
    "fruit": ("he ate a ripe {0}", "the {0} is sweet", "they picked a basket of {0} and {1}"),
    "vegetables": (
        "she cuts the {0} for the soup",
        "the {0} grows beside the {1}",
        "we cooked {0} with {1}",
    ),
    "drinks": (
        "he drinks {0} in the morning",
        "a glass of {0} stands there",
        "would you like {0} or {1}",
    ),
    "kitchen": (
        "the {0} is on the stove",
        "he washes the {0} and the {1}",
        "the soup is in the {0}",
    ),
    "furniture": (
        "the {0} stands in the corner",
        "they carried the {0} upstairs",
        "the {0} is next to the {1}",
    ),
    "clothes": ("she wears a {0}", "his {0} is made of wool", "he hung up the {0} and the {1}"),
    "weather": ("there was {0} all night", "after the {0} came {1}", "the {0} will stop tomorrow"),
    "music": (
        "we heard the {0} from afar",
        "she plays the {0} well",
        "the {0} and the {1} sounded lovely",
    ),
    "school": (
        "the {0} was long",
        "the {0} lies on the table beside the {1}",
        "every {0} has an end",
    ),
    "body": ("my {0} hurts", "he broke his {0}", "she washed her {0} and her {1}"),
    "sport": ("we watched {0} on Sunday", "the {0} was exciting", "they talked about {0} and {1}"),
    "garden": ("the {0} needs water", "he sat beside the {0}", "behind the {0} there is a {1}"),
    "trees": (
        "the {0} lost its leaves",
        "an old {0} stands on the hill",
        "between the {0} and the {1} runs a path",
    ),
    "sea": ("the {0} was far away", "we saw a {0} near the {1}", "the {0} is wet with salt water"),
    "travel": ("the {0} was late", "he lost his {0}", "we took the {0} and left the {1}"),
    "family": (
        "my {0} is coming for dinner",
        "her {0} lives in the south",
        "the {0} helped the {1}",
    ),
    "work": (
        "the {0} is on the third floor",
        "she talked about the {0}",
        "the {0} takes the whole day",
    ),
    "tools": ("he needs a {0}", "the {0} lies beside the {1}", "without a {0} it cannot be mended"),
    "health": ("the {0} was at home", "she asked for a {0}", "after the {0} he felt better"),
    "town": ("they met near the {0}", "the {0} is older than the {1}", "a new {0} is being built"),
    "space": (
        "the {0} was bright",
        "they looked at the {0} for hours",
        "between the {0} and the {1} it is dark",
    ),
    "machines": ("the {0} is old", "he repaired the {0}", "the {0} is beside the {1}"),
    "colours": (
        "the door is {0}",
        "she painted the wall {0} and {1}",
        "his favourite colour is {0}",
    ),
}

OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("old", "new"), ("fast", "slow"), ("full", "empty"),
    ("light", "dark"), ("high", "low"), ("wet", "dry"), ("early", "late"), ("open", "closed"),
    ("rich", "poor"), ("strong", "weak"), ("loud", "quiet"), ("clean", "dirty"), ("long", "short"),
    ("wide", "narrow"), ("heavy", "light"), ("right", "wrong"), ("happy", "sad"), ("cheap", "dear"),
    ("safe", "dangerous"), ("buy", "sell"), ("give", "take"), ("begin", "end"), ("win", "lose"),
    ("find", "lose"), ("send", "receive"), ("remember", "forget"), ("lock", "unlock"),
    ("first", "last"), ("near", "far"), ("before", "after"), ("yes", "no"), ("day", "night"),
)  # fmt: skip

SAME_MEANING = (
    ("quick", "fast"), ("big", "large"), ("start", "begin"), ("parcel", "package"),
    ("buy", "purchase"), ("error", "mistake"), ("repair", "mend"), ("broken", "damaged"),
    ("swap", "exchange"), ("pretty", "beautiful"), ("angry", "upset"), ("cancel", "call off"),
    ("erase", "delete"), ("sum", "amount"), ("bill", "invoice"), ("log in", "sign in"),
    ("colleague", "fellow worker"), ("ill", "sick"), ("costly", "dear"), ("shut", "close"),
    ("street", "road"), ("happy", "glad"), ("choose", "pick"), ("reply", "answer"),
    ("firm", "company"), ("film", "movie"), ("autumn", "fall"), ("photo", "picture"),
    ("alter", "change"), ("faulty", "defective"), ("website", "site"), ("carrier", "courier"),
    ("advert", "advertising"), ("voucher", "gift card"), ("present", "gift"), ("fee", "charge"),
    ("postman", "mailman"), ("quick", "speedy"), ("hang", "freeze"), ("wipe", "erase"),
    ("annoying", "tiresome"), ("available", "in stock"), ("kind", "friendly"),
)  # fmt: skip

ITEMS = (
    "lamp", "rain jacket", "kettle", "backpack", "tent", "chair", "blanket", "teapot", "desk",
    "scarf", "bicycle helmet", "sweater", "frying pan", "mirror", "watch", "sleeping bag", "coat",
    "radio", "pillow", "toaster", "shelf", "hat", "belt", "camera", "clock", "drill", "ladder",
    "suitcase", "guitar", "bowl", "jacket", "table", "shoe", "glove", "knife",
)  # fmt: skip

NAMES = (
    "Anna", "Tom", "Lucia", "Sam", "Ines", "Omar", "Petra", "Ben", "Clara", "Dora", "Emil", "Finn",
    "Greta", "Hugo", "Ida", "Jonas", "Karin", "Leo", "Mara", "Nils", "Olga", "Paul", "Rosa",
    "Simon", "Tina", "Viktor", "Wanda", "Yusuf", "Zoe", "Mr Weber", "Mrs Novak", "Mr Costa",
)  # fmt: skip

CITIES = (
    "Oslo", "Lisbon", "Vienna", "Cork", "Turin", "Ghent", "Malmo", "Porto", "Rome", "Paris",
    "Berlin", "Madrid", "Prague", "Bern", "Athens", "Dublin", "London", "Warsaw",
)  # fmt: skip

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
SPANS = (
    "five days", "nine days", "two weeks", "ten days", "three weeks", "a month", "a week",
    "four days", "six weeks", "an hour", "two years", "three days",
)  # fmt: skip
SIZES = ("small", "medium", "large", "36", "38", "40", "42", "44", "XL", "S", "M", "L")
DEVICES = ("phone", "tablet", "laptop", "computer", "old computer")
BROWSERS = ("Firefox", "Chrome", "Safari", "Edge", "Opera")
MATERIALS = ("wool", "cotton", "steel", "leather", "wood", "glass", "plastic", "linen")
NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve",
)  # fmt: skip

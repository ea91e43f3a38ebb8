"""Makes shop.sql, the example's database: a small web shop with six tables, drawn with a fixed seed.

Counts are uneven on purpose (more customers in Oslo than in Porto, few cancelled orders), so that results tell queries apart.
"""

import random
from datetime import date, timedelta
from typing import Any

TableRow = tuple[Any, ...]

SCHEMA = """\
CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT, city TEXT, country TEXT, joined TEXT, points INTEGER);
CREATE TABLE suppliers(id INTEGER PRIMARY KEY, name TEXT, country TEXT);
CREATE TABLE products(
  id INTEGER PRIMARY KEY, name TEXT, category TEXT, price REAL, stock INTEGER, supplier_id INTEGER REFERENCES suppliers(id)
);
CREATE TABLE orders(id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers(id), date TEXT, status TEXT, shipping REAL);
CREATE TABLE order_items(
  order_id INTEGER REFERENCES orders(id), product_id INTEGER REFERENCES products(id), quantity INTEGER
);
CREATE TABLE reviews(
  product_id INTEGER REFERENCES products(id), customer_id INTEGER REFERENCES customers(id), rating INTEGER, date TEXT
);
"""
FIRST = (
    "Anna Jonas Maria Pedro Lena Hugo Ingrid Rui Clara Felix Sofia Emil Julie Tomas Nora Paulo Greta Louis Ida Andre "
    "Marta Oskar Camille Nuno Elsa Max Ines Lukas Alice Erik Beatriz Karl Chloe Miguel Astrid Paul Joana Lars Manon Diogo"
)
LAST = "Berg Keller Silva Moreau Hansen Vogel Costa Petit Dahl Braun Lopes Girard Lund Weber Ramos Blanc Haugen Fuchs Pinto Roux"
CITIES = [
    ("Oslo", "Norway", 9), ("Bergen", "Norway", 5), ("Lisbon", "Portugal", 6), ("Porto", "Portugal", 3),
    ("Berlin", "Germany", 6), ("Hamburg", "Germany", 4), ("Lyon", "France", 3), ("Paris", "France", 4),
]  # fmt: skip
SUPPLIERS = [
    ("Nordic Roast", "Norway"), ("Casa Verde", "Portugal"), ("Bauer Werke", "Germany"), ("Kyoto Leaf", "Japan"),
    ("Atelier Lune", "France"), ("Fjord Craft", "Norway"), ("Rossi", "Italy"), ("Holzmann", "Germany"),
]  # fmt: skip
PRODUCTS = {
    "coffee": ["House Blend", "Dark Roast", "Decaf", "Ethiopia Beans", "Espresso Beans", "Cold Brew"],
    "tea": ["Green Tea", "Earl Grey", "Sencha", "Mint Tea", "Chai"],
    "kitchen": ["French Press", "Kettle", "Milk Jug", "Scale", "Grinder", "Espresso Cups", "Tray"],
    "garden": ["Watering Can", "Seed Box", "Trowel", "Plant Pot"],
    "toy": ["Puzzle", "Wooden Train", "Kite", "Yo-yo"],
    "stationery": ["Notebook", "Fountain Pen", "Postcards", "Desk Lamp"],
}
RANGES = {"coffee": (6, 22), "tea": (4, 16), "kitchen": (12, 90), "garden": (5, 45), "toy": (7, 40), "stationery": (3, 60)}
STATUSES, STATUS_WEIGHTS = ("delivered", "shipped", "pending", "cancelled"), (55, 20, 15, 10)
ORDERS, REVIEWS = 150, 90


def make_shop(seed: int) -> str:
    """The script that creates and fills the database."""
    draw = random.Random(seed)
    customers, products = _customers(draw), _products(draw)
    orders, items = _orders(draw, len(customers), len(products))
    reviews = _reviews(draw, len(customers), len(products))
    tables = {"customers": customers, "suppliers": [(i, *s) for i, s in enumerate(SUPPLIERS, 1)], "products": products,
              "orders": orders, "order_items": items, "reviews": reviews}  # fmt: skip
    inserts = [f"INSERT INTO {name} VALUES\n" + ",\n".join(map(_values, rows)) + ";\n" for name, rows in tables.items()]
    return SCHEMA + "".join(inserts)


def _customers(draw: random.Random) -> list[TableRow]:
    homes = [(city, country) for city, country, count in CITIES for _ in range(count)]
    draw.shuffle(homes)
    points = draw.sample(range(10, 990, 5), len(homes))
    joined = sorted(draw.sample(range(730), len(homes)))
    names = [f"{FIRST.split()[i]} {draw.choice(LAST.split())}" for i in range(len(homes))]
    return [(i + 1, names[i], *homes[i], _day("2021-01-01", joined[i]), points[i]) for i in range(len(homes))]


def _products(draw: random.Random) -> list[TableRow]:
    rows: list[TableRow] = []
    stocks = iter(draw.sample(range(3, 220), sum(map(len, PRODUCTS.values()))))
    prices: set[float] = set()
    for category, names in PRODUCTS.items():
        for name in names:
            low, high = RANGES[category]
            price = next(p for p in iter(lambda: draw.randrange(low * 10, high * 10) / 10, None) if p not in prices)  # noqa: B023
            prices.add(price)
            rows.append((len(rows) + 1, name, category, price, next(stocks), draw.randrange(1, len(SUPPLIERS) + 1)))
    return rows


def _orders(draw: random.Random, customers: int, products: int) -> tuple[list[TableRow], list[TableRow]]:
    orders, items = [], []
    days = sorted(draw.randrange(730) for _ in range(ORDERS))
    for i, day in enumerate(days, 1):
        # Squaring makes some customers order far more often than others.
        customer = 1 + int(draw.random() ** 1.7 * customers)
        status = draw.choices(STATUSES, STATUS_WEIGHTS)[0]
        orders.append((i, customer, _day("2023-01-01", day), status, draw.randrange(30, 250) / 10))
        for product in draw.sample(range(1, products + 1), draw.choices((1, 2, 3, 4), (35, 35, 20, 10))[0]):
            items.append((i, product, draw.choices((1, 2, 3, 4, 5, 6, 8), (45, 22, 12, 8, 6, 4, 3))[0]))
    return orders, items


def _reviews(draw: random.Random, customers: int, products: int) -> list[TableRow]:
    pairs = draw.sample([(p, c) for p in range(1, products + 1) for c in range(1, customers + 1)], REVIEWS)
    days = sorted(draw.randrange(730) for _ in range(REVIEWS))
    ratings = [draw.choices((1, 2, 3, 4, 5), (6, 10, 20, 34, 30))[0] for _ in range(REVIEWS)]
    return [(*pair, rating, _day("2023-01-01", day)) for pair, rating, day in zip(pairs, ratings, days, strict=True)]


def _day(start: str, days: int) -> str:
    return (date.fromisoformat(start) + timedelta(days=days)).isoformat()


def _values(row: TableRow) -> str:
    return "(" + ", ".join(f"'{v}'" if isinstance(v, str) else str(v) for v in row) + ")"

"""The transfer objectives from the papers' formulas, with Python loops over floats.

Vectors are lists, a batch of vectors is a list of lists, and a map is channels × rows × columns.
"""

import math
from collections.abc import Sequence

Vector = list[float]
Matrix = list[Vector]
Map = list[Matrix]


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def unit(a: Vector) -> Vector:
    norm = math.sqrt(dot(a, a))
    return [x / norm for x in a]


def softmax(logits: Vector, temperature: float) -> Vector:
    powers = [math.exp(z / temperature) for z in logits]
    return [p / sum(powers) for p in powers]


def divergence(p_t: Vector, p_s: Vector) -> float:
    return sum(t * math.log(t / s) for t, s in zip(p_t, p_s, strict=True))


def z_score(logits: Vector) -> Vector:
    mean = sum(logits) / len(logits)
    deviation = math.sqrt(sum((z - mean) ** 2 for z in logits) / (len(logits) - 1))
    return [(z - mean) / deviation for z in logits]


def decoupled(student: Vector, teacher: Vector, label: int, temperature: float) -> tuple[float, float, float]:
    """TCKD, NCKD and the teacher's probability of the target class."""
    p_s, p_t = softmax(student, temperature), softmax(teacher, temperature)
    tckd = divergence([p_t[label], 1 - p_t[label]], [p_s[label], 1 - p_s[label]])
    others = [c for c in range(len(student)) if c != label]
    nckd = divergence(
        [p_t[c] / (1 - p_t[label]) for c in others], [p_s[c] / (1 - p_s[label]) for c in others]
    )
    return tckd, nckd, p_t[label]


def transformed(student: Vector, teacher: Vector, exponent: float) -> float:
    powers = [p**exponent for p in softmax(teacher, 1)]
    return sum(powers) * divergence([p / sum(powers) for p in powers], softmax(student, 1))


def pearson(a: Vector, b: Vector) -> float:
    a, b = ([x - sum(v) / len(v) for x in v] for v in (a, b))
    return dot(unit(a), unit(b))


def dist(student: Matrix, teacher: Matrix, beta: float, gamma: float, temperature: float) -> float:
    p_s, p_t = ([softmax(row, temperature) for row in logits] for logits in (student, teacher))
    inter = sum(1 - pearson(s, t) for s, t in zip(p_s, p_t, strict=True)) / len(p_s)
    columns = list(zip(zip(*p_s, strict=True), zip(*p_t, strict=True), strict=True))
    intra = sum(1 - pearson(list(s), list(t)) for s, t in columns) / len(columns)
    return temperature**2 * (beta * inter + gamma * intra)


def similarity(student: Matrix, teacher: Matrix) -> float:
    grams = [[unit([dot(a, b) for b in x]) for a in x] for x in (student, teacher)]
    batch = len(student)
    return sum((grams[1][i][j] - grams[0][i][j]) ** 2 for i in range(batch) for j in range(batch)) / batch**2


def correlation(student: Matrix, teacher: Matrix) -> float:
    delta = [[abs(s - t) for s, t in zip(*rows, strict=True)] for rows in zip(student, teacher, strict=True)]
    return sum(dot(delta[i], delta[i + 1]) for i in range(len(delta) - 1)) / (len(delta) - 1)


def huber(x: float) -> float:
    return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


def rkd(student: Matrix, teacher: Matrix, distance_weight: float, angle_weight: float) -> float:
    batch = range(len(student))

    def distances(x: Matrix) -> Matrix:
        d = [[math.dist(x[i], x[j]) for j in batch] for i in batch]
        mean = sum(map(sum, d)) / (len(x) * (len(x) - 1))
        return [[value / mean for value in row] for row in d]

    def cosine(x: Matrix, i: int, j: int, k: int) -> float:
        if i in (j, k):
            return 0.0
        to_j, to_k = ([b - a for a, b in zip(x[i], x[other], strict=True)] for other in (j, k))
        return dot(unit(to_j), unit(to_k))

    d_s, d_t = distances(student), distances(teacher)
    distance = sum(huber(d_s[i][j] - d_t[i][j]) for i in batch for j in batch) / len(student) ** 2
    triplets = [(i, j, k) for i in batch for j in batch for k in batch]
    angle = sum(huber(cosine(student, *t) - cosine(teacher, *t)) for t in triplets) / len(triplets)
    return distance_weight * distance + angle_weight * angle


def pkt(student: Matrix, teacher: Matrix) -> float:
    def probabilities(x: Matrix) -> Matrix:
        near = [[(dot(unit(a), unit(b)) + 1) / 2 for b in x] for a in x]
        return [[value / sum(row) for value in row] for row in near]

    p_s, p_t = probabilities(student), probabilities(teacher)
    return sum(divergence(t, s) for t, s in zip(p_t, p_s, strict=True)) / len(student) ** 2


def uncorrelated(student: Matrix, teacher: Matrix, alpha: float) -> float:
    def standard(x: Matrix) -> Matrix:
        """Features × samples."""
        return [z_score(list(feature)) for feature in zip(*x, strict=True)]

    pairs = zip(standard(student), standard(teacher), strict=True)
    return math.log2(sum(abs(dot(s, t) / len(student) - 1) ** (2 * alpha) for s, t in pairs))


def unshared(student: Matrix, teacher: Matrix) -> float:
    def purity(gram: Matrix) -> float:
        trace = sum(gram[i][i] for i in range(len(gram)))
        return sum((g / trace) ** 2 for row in gram for g in row)

    own, theirs = ([[dot(unit(a), unit(b)) for b in x] for a in x] for x in (student, teacher))
    both = [[a * b for a, b in zip(*rows, strict=True)] for rows in zip(own, theirs, strict=True)]
    return purity(own) - purity(both)


def dual(student: Matrix, teacher: Matrix) -> float:
    critic = [[dot(s, t) / math.sqrt(2) for t in teacher] for s in student]
    batch = range(len(student))
    return sum(critic[i][i] for i in batch) / len(batch) - sum(map(sum, critic)) / len(batch) ** 2


def primal(student: Matrix, teacher: Matrix, epsilon: float, iterations: int) -> float:
    cost = [[1 - dot(unit(s), unit(t)) for t in teacher] for s in student]
    batch = range(len(student))
    kernel = [[math.exp(-c / epsilon) for c in row] for row in cost]
    left, right = [1.0 for _ in batch], [1.0 for _ in batch]
    for _ in range(iterations):
        left = [1 / len(batch) / dot(row, right) for row in kernel]
        right = [1 / len(batch) / sum(left[i] * kernel[i][j] for i in batch) for j in batch]
    return sum(left[i] * kernel[i][j] * right[j] * cost[i][j] for i in batch for j in batch)


def soft_maximum(student: Matrix, teacher: Matrix, exponent: float) -> float:
    def batch_norm(x: Matrix) -> Matrix:
        """Features × samples."""
        found = []
        for feature in zip(*x, strict=True):
            mean = sum(feature) / len(feature)
            variance = sum((value - mean) ** 2 for value in feature) / len(feature)
            found.append([(value - mean) / math.sqrt(variance + 1e-4) for value in feature])
        return found

    pairs = zip(batch_norm(student), batch_norm(teacher), strict=True)
    return math.log(sum(abs(a - b) ** exponent for s, t in pairs for a, b in zip(s, t, strict=True)))


def multi_level(
    student: Matrix, teacher: Matrix, temperatures: Sequence[float]
) -> tuple[float, float, float]:
    """The instance, the batch and the class level."""

    def gram(p: Matrix) -> Matrix:
        return [[dot(a, b) for b in p] for a in p]

    def squares(p_s: Matrix, p_t: Matrix) -> float:
        rows = zip(gram(p_s), gram(p_t), strict=True)
        return sum((a - b) ** 2 for s, t in rows for a, b in zip(s, t, strict=True)) / len(p_s)

    instance = batch = category = 0.0
    for temperature in temperatures:
        p_s, p_t = ([softmax(row, temperature) for row in logits] for logits in (student, teacher))
        kls = [divergence(t, s) for s, t in zip(p_s, p_t, strict=True)]
        instance += temperature**2 * sum(kls) / len(kls)
        batch += squares(p_s, p_t)
        category += squares(*([list(column) for column in zip(*p, strict=True)] for p in (p_s, p_t)))
    return instance, batch, category


def flat(feature_map: Map) -> Matrix:
    """Channels × positions."""
    return [[x for row in channel for x in row] for channel in feature_map]


def energy(feature_map: Map) -> Vector:
    channels = flat(feature_map)
    return unit([sum(x * x for x in place) / len(channels) for place in zip(*channels, strict=True)])


def factor(student: list[Map], teacher: list[Map]) -> float:
    total, count = 0.0, 0
    for s, t in zip(student, teacher, strict=True):
        differences = [abs(a - b) for a, b in zip(energy(s), energy(t), strict=True)]
        total, count = total + sum(differences), count + len(differences)
    return total / count


def nst(student: list[Map], teacher: list[Map]) -> float:
    def kernel(a: Matrix, b: Matrix) -> float:
        return sum(dot(unit(x), unit(y)) ** 2 for x in a for y in b) / (len(a) * len(b))

    total = 0.0
    for s, t in zip(map(flat, student), map(flat, teacher), strict=True):
        total += kernel(t, t) + kernel(s, s) - 2 * kernel(s, t)
    return total / len(student)


def flow(bottom: Map, top: Map) -> Matrix:
    return [[dot(x, y) / len(x) for y in flat(top)] for x in flat(bottom)]


def fsp(student: list[tuple[Map, Map]], teacher: list[tuple[Map, Map]]) -> float:
    """One flow, of a batch of (bottom, top)."""
    differences = [
        (a - b) ** 2
        for s, t in zip(student, teacher, strict=True)
        for row_s, row_t in zip(flow(*s), flow(*t), strict=True)
        for a, b in zip(row_s, row_t, strict=True)
    ]
    return sum(differences) / len(differences)


def boundary(student: Sequence[float], teacher: Sequence[float], margin: float) -> float:
    """The sum over neurons, without weights."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        if t > 0 and s <= margin:
            total += (s - margin) ** 2
        if t <= 0 and s > -margin:
            total += (s + margin) ** 2
    return total


def gaussian(mean: list[Map], target: list[Map], variance: Vector) -> float:
    terms = [
        ((m - t) ** 2 / v + math.log(v)) / 2
        for image_m, image_t in zip(mean, target, strict=True)
        for channel_m, channel_t, v in zip(flat(image_m), flat(image_t), variance, strict=True)
        for m, t in zip(channel_m, channel_t, strict=True)
    ]
    return sum(terms) / len(terms)


def meta(student: list[Map], teacher: list[Map], sizes: Sequence[int]) -> float:
    """Square maps whose side each of the sizes divides."""

    def coarse(channel: Matrix, size: int) -> Vector:
        step = len(channel) // size
        blocks = [(i, j) for i in range(size) for j in range(size)]
        return [
            sum(channel[i * step + a][j * step + b] for a in range(step) for b in range(step)) / step**2
            for i, j in blocks
        ]

    def difference(size: int) -> float:
        squares = [
            (a - b) ** 2
            for image_s, image_t in zip(student, teacher, strict=True)
            for channel_s, channel_t in zip(image_s, image_t, strict=True)
            for a, b in zip(coarse(channel_s, size), coarse(channel_t, size), strict=True)
        ]
        return sum(squares) / len(squares)

    weights = [2.0**-i for i in range(len(sizes) + 1)]
    values = [difference(size) for size in (len(student[0][0]), *sizes)]
    return dot(weights, values) / sum(weights)

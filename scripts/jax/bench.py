"""The training steps of `mfm bench` in JAX: the same networks, losses, batches and optimizers.

    python bench.py --case mlp|unet --loss semigroup|meanflow|eulerian|lagrangian [--seconds 10] [--data IDX.gz]
    python bench.py --case dit --loss semigroup|one-step [--seconds 10]

The loss one-step stands for batches of samples in one step.

Prints one line of JSON: case, loss, steps_per_s, compile_s.
"""
import argparse, gzip, json, time
import jax, jax.numpy as jnp, numpy as np
import dit

arguments = argparse.ArgumentParser()
arguments.add_argument("--case", choices=["mlp", "unet", "dit"], required=True)
arguments.add_argument("--loss", choices=["semigroup", "meanflow", "eulerian", "lagrangian", "one-step"], required=True)
arguments.add_argument("--seconds", type=float, default=10)
arguments.add_argument("--data", help="gzipped IDX file of the training images, for --case unet")
a = arguments.parse_args()
if a.case == "dit" and a.loss not in ("semigroup", "one-step") or a.case != "dit" and a.loss == "one-step":
    arguments.error(f"--case {a.case} has no --loss {a.loss}")
rng = np.random.default_rng(0)
sg, silu = jax.lax.stop_gradient, jax.nn.silu


def normal(*shape, gain=1.0):
    return jnp.asarray(gain * rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1])), jnp.float32)


def column(t, x):
    return t.reshape(-1, *[1] * (x.ndim - 1))


# ---- networks F(p, times, states, label): times s, u, t and the known share; states x̄, x and their
# combination; no label but for the transformer
def mlp_init():
    sizes = [3 * 2 + 4 * 9] + [256] * 4 + [2]
    return [(normal(i, o), jnp.zeros(o)) for i, o in zip(sizes, sizes[1:])]


def mlp(p, times, states, label):
    f = jnp.array([1.0, 2.0, 4.0, 8.0]) * jnp.pi / 2
    times = [jnp.concatenate([v[:, None], jnp.sin(v[:, None] * f), jnp.cos(v[:, None] * f)], -1) for v in times]
    h = jnp.concatenate([*states, *times], -1)
    for w, b in p[:-1]:
        h = silu(h @ w + b)
    return h @ p[-1][0] + p[-1][1]


C, E = 32, 128


def unet_init():
    p = {}

    def dense(name, i, o, gain=1.0):
        p[name] = (normal(i, o, gain=gain), jnp.zeros(o))

    def conv(name, i, o, k=3, gain=1.0):
        p[name] = (normal(k, k, i, o, gain=gain), jnp.zeros(o))

    def block(name, i, o):
        conv(name + "1", i, o), conv(name + "2", o, o, gain=0), dense(name + "e", E, 2 * o)
        if i != o:
            conv(name + "s", i, o, 1)

    def attention(name, c):
        dense(name + "q", c, 3 * c), dense(name + "o", c, c, 0)

    dense("e1", 256, E), dense("e2", E, E), conv("in", 12, C), conv("down", C, 2 * C), conv("out", C, 4, gain=0)
    block("d1", C, C), block("d2", 2 * C, 2 * C), block("m", 2 * C, 2 * C), block("u2", 4 * C, 2 * C), block("u1", 3 * C, C)
    attention("a1", 2 * C), attention("a2", 2 * C)
    return p


def unet(p, times, states, label):
    batch = len(times[0])

    def dense(name, v):
        return v @ p[name][0] + p[name][1]

    def conv(name, v, stride=1):
        return jax.lax.conv_general_dilated(v, p[name][0], (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + p[name][1]

    def norm(v):
        b, h, w, c = v.shape
        y = v.reshape(b, h * w, 8, c // 8)
        m = y.mean((1, 3), keepdims=True)
        return ((y - m) * jax.lax.rsqrt(((y - m) ** 2).mean((1, 3), keepdims=True) + 1e-6)).reshape(v.shape)

    def block(name, v):
        h = conv(name + "1", silu(norm(v)))
        scale, shift = jnp.split(dense(name + "e", c)[:, None, None], 2, -1)
        h = conv(name + "2", silu(norm(h) * (1 + scale) + shift))
        return h + (conv(name + "s", v) if name + "s" in p else v)

    def attention(name, v):
        b, h, w, n = v.shape
        q, k, y = jnp.split(dense(name + "q", norm(v).reshape(b, h * w, n)).reshape(b, h * w, 12, n // 4), 3, 2)
        r = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(n // 4), -1)
        return v + dense(name + "o", jnp.einsum("bhqk,bkhd->bqhd", r, y).reshape(b, h * w, n)).reshape(v.shape)

    def to_depth(v):
        return v.reshape(batch, 14, 2, 14, 2, 1).transpose(0, 1, 3, 2, 4, 5).reshape(batch, 14, 14, 4)

    f = jnp.exp(jnp.linspace(0, np.log(100), 32))
    times = jnp.concatenate([w for v in times for w in (jnp.sin(v[:, None] * f), jnp.cos(v[:, None] * f))], -1)
    c = silu(dense("e2", silu(dense("e1", times))))
    h1 = block("d1", conv("in", jnp.concatenate([to_depth(v) for v in states], -1)))
    h2 = attention("a1", block("d2", conv("down", h1, 2)))
    h = block("u2", jnp.concatenate([attention("a2", block("m", h2)), h2], -1))
    h = block("u1", jnp.concatenate([jnp.repeat(jnp.repeat(h, 2, 1), 2, 2), h1], -1))
    y = conv("out", silu(norm(h)))
    return y.reshape(batch, 14, 14, 2, 2, 1).transpose(0, 1, 3, 2, 4, 5).reshape(batch, 28, 28, 1)


# ---- data with their labels, and their Gaussian parametrization (mean and variance along the axes of a
# basis)
if a.case == "mlp":
    init, network, batch, shape = mlp_init, mlp, 1024, (2,)
    mean, variance, basis = 0.0, jnp.array([0.5, 12.5]), jnp.array([[-1.0, 1.0], [1.0, 1.0]]) / np.sqrt(2)
    centers = jnp.array([[-3.0, -3.0], [0.0, 0.0], [3.0, 3.0]])

    def sample(key):
        k1, k2 = jax.random.split(key)
        return centers[jax.random.randint(k1, (batch,), 0, 3)] + np.sqrt(0.5) * jax.random.normal(k2, (batch, 2)), None
elif a.case == "unet":
    init, network, batch, shape, basis = unet_init, unet, 64, (28, 28, 1), None
    pixels = np.frombuffer(gzip.open(a.data).read()[16:], np.uint8).reshape(-1, 28, 28, 1).astype(np.float32) / 127.5 - 1
    mean, variance, images = jnp.asarray(pixels.mean(0)), float(((pixels - pixels.mean(0)) ** 2).mean()), jnp.asarray(pixels)

    def sample(key):
        return images[jax.random.randint(key, (batch,), 0, len(images))], None
else:
    init, network, batch, shape, basis = lambda: dit.init(normal), dit.network, dit.BATCH, dit.SHAPE, None
    points, labels = dit.data(rng)
    mean = points.mean(0)
    variance = float(((points - mean) ** 2).mean()) + dit.NOISE

    def sample(key):
        k1, k2 = jax.random.split(key)
        i = jax.random.randint(k1, (batch,), 0, len(points))
        return points[i] + np.sqrt(dit.NOISE) * jax.random.normal(k2, (batch, *shape)), labels[i]


def rotate(x):
    return x if basis is None else x @ basis


def share(s, t, variance):
    c = (1 - t) ** 2 * variance / ((1 - t) ** 2 + t**2 * variance) + 1e-8
    return c / ((1 - s) ** 2 + c * s**2)


def velocity(p, s, u, xbar, t, x, label=None):
    xbar, x, m = rotate(xbar), rotate(x), mean
    s1, u1, t1 = column(s, x), column(u, x), column(t, x)
    d = (1 - t1) ** 2 + t1**2 * variance
    c = (1 - t1) ** 2 * variance / d + 1e-8
    nu_s, nu_u = (1 - s1) ** 2 + c * s1**2, (1 - u1) ** 2 + c * u1**2
    context = x - t1 * m
    mu = m + t1 * variance / d * context
    r = xbar - s1 * mu
    v = mu + r * ((u1 + s1) * c - (2 - u1 - s1)) / (jnp.sqrt(nu_s * nu_u) + nu_s)
    fused = (mu - m + c * s1 / nu_s * r) / jnp.sqrt(variance)
    known = 1 - (1 - s) * jnp.sqrt(share(s, t, jnp.mean(variance)) / jnp.mean(variance))
    v = v + jnp.sqrt(c / nu_s) * network(p, (s, u, t, known), (r / jnp.sqrt(nu_s), context / jnp.sqrt(d), fused), label)
    return v if basis is None else v @ basis.T


def squares(err, s, t):
    err, s, t = rotate(err), column(s, err), column(t, err)
    err = err / jnp.sqrt(jnp.maximum(share(s, t, variance), 0.02))
    return (err**2).mean(range(1, err.ndim))


# ---- losses: half of the batch on the diagonal, half off it
def loss(p, key):
    k = jax.random.split(key, 8)
    (x1, label), h = sample(k[0]), batch // 2
    zero, power, whole = (0.1, 1, 0) if a.case != "dit" else (0.2, 2, 0.2)
    t = jax.random.uniform(k[1], (batch,)) ** power * (jax.random.uniform(k[2], (batch,)) >= zero)
    x = column(1 - t, x1) * jax.random.normal(k[3], x1.shape) + column(t, x1) * x1
    e, w3 = jax.random.normal(k[4], x1.shape), jax.random.uniform(k[5], (3, h))
    s, u = jnp.concatenate([w3[0], jnp.minimum(w3[1], w3[2])]), jnp.concatenate([w3[0], jnp.maximum(w3[1], w3[2])])
    if whole:
        first, drop = jax.random.split(k[7])
        off = (jnp.arange(batch) >= h) & (jax.random.uniform(first, (batch,)) < whole)
        s, u = jnp.where(off, 0, s), jnp.where(off, 1, u)
        label = jnp.where(jax.random.uniform(drop, (batch,)) < 0.1, dit.CLASSES, label)
    xbar, w = column(1 - s, x1) * e + column(s, x1) * x1, x1 - e
    off = [v[h:] for v in (s, u, xbar, t, x)]
    s2, u2, xbar2, t2, x2 = off
    diagonal = [v[:h] for v in (s, s, xbar, t, x)]
    if a.loss == "semigroup":
        g = jax.random.uniform(k[6], (h,))
        r = s2 + g * (u2 - s2)
        label2 = None if label is None else label[h:]
        v1 = velocity(p, s2, r, xbar2, t2, x2, label2)
        v2 = velocity(p, r, u2, xbar2 + column(r - s2, v1) * v1, t2, x2, label2)
        on = w[:h] if a.case != "dit" else dit.drift(points, labels, s[:h], xbar[:h], t[:h], x[:h], label[:h])
        target = jnp.concatenate([on, sg(column(g, v1) * v1 + column(1 - g, v1) * v2)])
        return squares(velocity(p, s, u, xbar, t, x, label) - target, s, t).mean()
    on = squares(velocity(p, *diagonal) - w[:h], s[:h], t[:h]).mean()
    if a.loss == "lagrangian":
        end, d_end = jax.jvp(lambda u: xbar2 + column(u - s2, xbar2) * velocity(p, s2, u, xbar2, t2, x2), (u2,), (jnp.ones(h),))
        off = squares(d_end - sg(velocity(p, u2, u2, sg(end), t2, x2)), u2, t2).mean()
    else:
        b = w[h:] if a.loss == "meanflow" else sg(velocity(p, s2, s2, xbar2, t2, x2))
        v, dv = jax.jvp(lambda s, y: velocity(p, s, u2, y, t2, x2), (s2, xbar2), (jnp.ones(h), b))
        off = squares(v - sg(b + column(u2 - s2, v) * dv), s2, t2).mean()
    return 0.5 * on + 0.5 * off


# ---- one step: RAdam, or Muon for the transformer, with warm-up and cosine, clipping, one moving
# average; weights, moments and key are donated
def step(state, n):
    p, m, v, average, key = state
    key, k = jax.random.split(key)
    value, g = jax.value_and_grad(loss)(p, k)
    leaves = jax.tree.leaves(g)
    norm = jnp.sqrt(sum((x**2).sum() for x in leaves))
    tree = jax.tree.map
    g = tree(lambda x: x * jnp.minimum(1, 1 / (norm + 1e-12)), g)
    top, warm = (1e-3, 100) if a.case != "dit" else (3e-3, 200)
    rate = top * jnp.minimum(1, n / warm) * 0.5 * (1 + jnp.cos(jnp.pi * n / 1e6))
    c1, c2 = 1 / (1 - 0.9**n), 1 / (1 - 0.999**n)
    inf = 2 / (1 - 0.999) - 1
    rho = inf - 2 * n * 0.999**n * c2
    rectification = jnp.sqrt(jnp.maximum((rho - 4) * (rho - 2) * inf / ((inf - 4) * (inf - 2) * rho), 0))

    def update(p, g, m, v):
        if a.case == "dit" and p.ndim > 1:
            return *dit.muon(rate, p, g, m), v
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        adaptive = m * c1 / (jnp.sqrt(v * c2) + 1e-8)
        return p - rate * (adaptive if a.case == "dit" else jnp.where(rho > 5, rectification * adaptive, m * c1)), m, v

    updated = tree(update, p, g, m, v)
    new, m, v = [tree(lambda _, u: u[i], p, updated) for i in range(3)]
    d = jnp.minimum((n - 1) / (n + 9), 0.999)
    ok = jnp.isfinite(value) & jnp.isfinite(norm)
    new = tree(lambda x, y: jnp.where(ok, x, y), new, p)
    return (new, m, v, tree(lambda e, p: d * e + (1 - d) * p, average, new), key), jnp.stack([value, norm, rate])


# ---- samples in one step; the labels alone differ from row to row
def samples(p, key, label):
    key, k = jax.random.split(key)
    zero, eps = jnp.zeros(1), jax.random.normal(k, (batch, *shape))
    return eps + velocity(p, zero, zero + 1, eps, zero, jnp.zeros_like(eps), label), key


p, key = init(), jax.random.PRNGKey(0)
if a.loss == "one-step":
    jitted, label = jax.jit(samples), jnp.arange(batch) % dit.CLASSES

    def call(n):
        global key
        x, key = jitted(p, key, label)
        np.asarray(x)
else:
    zeros = jax.tree.map(jnp.zeros_like, p)
    state = (p, zeros, jax.tree.map(jnp.copy, zeros), jax.tree.map(jnp.copy, p), key)
    jitted = jax.jit(step, donate_argnums=0)

    def call(n):
        global state
        state, figures = jitted(state, jnp.float32(n))
        np.asarray(figures)  # read the loss at every step, as the progress bar does


start = time.perf_counter()
call(1)
compiled = time.perf_counter() - start
for n in range(2, 5):
    call(n)
start, n = time.perf_counter(), 0
while time.perf_counter() - start < a.seconds:
    call(n + 5)
    n += 1
print(json.dumps({"case": a.case, "loss": a.loss, "steps_per_s": n / (time.perf_counter() - start), "compile_s": compiled}))

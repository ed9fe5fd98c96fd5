"""The steered runs of `mfm bench --case steer` in JAX, as one `lax.scan`.

The network, the estimators, the particles and the steps are the same.

    python steer.py --loss mfm-g|mfm-gf [--seconds 10]

Prints one line of JSON: case, loss, steps_per_s, compile_s.
"""
import argparse, json, time
import jax, jax.numpy as jnp, numpy as np

arguments = argparse.ArgumentParser()
arguments.add_argument("--loss", choices=["mfm-g", "mfm-gf"], required=True)
arguments.add_argument("--seconds", type=float, default=10)
a = arguments.parse_args()
jax.config.update("jax_default_prng_impl", "rbg")  # XLA's generator, as in GoMLX
particles, draws, steps = 4096, 16, 500
rng = np.random.default_rng(0)
sizes = [3 * 2 + 4 * 9, 32, 32, 32, 2]
weights = [(jnp.asarray(rng.standard_normal((i, o)) / np.sqrt(i) * (o > 2), jnp.float32), jnp.zeros(o)) for i, o in zip(sizes, sizes[1:])]
variance, basis = jnp.array([0.5, 12.5]), jnp.array([[-1.0, 1.0], [1.0, 1.0]]) / np.sqrt(2)


def network(p, times, states):
    f = jnp.array([1.0, 2.0, 4.0, 8.0]) * jnp.pi / 2
    times = jnp.concatenate([jnp.concatenate([v[None], jnp.sin(v * f), jnp.cos(v * f)]) for v in times])
    x = jnp.concatenate(states, -1)
    w, b = p[0]
    # The part that depends on times alone is computed once for the batch.
    h = jax.nn.silu(x @ w[: x.shape[-1]] + (times @ w[x.shape[-1] :] + b))
    for w, b in p[1:-1]:
        h = jax.nn.silu(h @ w + b)
    return h @ p[-1][0] + p[-1][1]


def velocity(p, s, u, xbar, t, x):  # times are scalars
    xbar, x = xbar @ basis, x @ basis
    d = (1 - t) ** 2 + t**2 * variance
    c = (1 - t) ** 2 * variance / d + 1e-8
    nu_s, nu_u = (1 - s) ** 2 + c * s**2, (1 - u) ** 2 + c * u**2
    mu = t * variance / d * x
    r = xbar - s * mu
    v = mu + r * ((u + s) * c - (2 - u - s)) / (jnp.sqrt(nu_s * nu_u) + nu_s)
    fused = (mu + c * s / nu_s * r) / jnp.sqrt(variance)
    mean = variance.mean()
    share = (1 - t) ** 2 * mean / ((1 - t) ** 2 + t**2 * mean) + 1e-8
    known = 1 - (1 - s) * jnp.sqrt(share / ((1 - s) ** 2 + share * s**2) / mean)
    v = v + jnp.sqrt(c / nu_s) * network(p, (s, u, t, known), (r / jnp.sqrt(nu_s), x / jnp.sqrt(d), fused))
    return v @ basis.T


def reward(x):
    return -((x @ jnp.array([1.2, -0.8]) + 1) ** 2) / (2 * 0.2**2)


# monitors returns what a run reports at each step: effective samples, their standard deviation,
# reward and value.
def monitors(samples, r):
    log = jax.nn.log_softmax(r, 1)
    effective = jnp.exp(-(jnp.exp(log) * log).sum(1))
    spread = jnp.sqrt(((samples - samples.mean(1, keepdims=True)) ** 2).mean((1, 2)))
    return effective.mean(), spread.mean(), r.mean(), (jax.scipy.special.logsumexp(r, 1) - np.log(draws)).mean()


def step(p):
    zero, one = jnp.float32(0), jnp.float32(1)

    def f(carry, row):
        x, key = carry
        t, at, h, steer = row
        key, k = jax.random.split(key)
        b = velocity(p, t, t, x, zero, jnp.zeros_like(x))
        eps = jax.random.normal(k, (particles * draws, 2))

        def rewarded(x):
            samples = eps + velocity(p, zero, one, eps, at, jnp.repeat(x, draws, 0))
            return samples, reward(samples).reshape(particles, draws)

        def value(x):
            samples, r = rewarded(x)
            return jax.scipy.special.logsumexp(r, 1).sum(), (samples, r)

        if a.loss == "mfm-g":
            gradient, (samples, r) = jax.grad(value, has_aux=True)(x)
            samples = samples.reshape(particles, draws, 2)
        else:
            samples, r = rewarded(x)
            samples = samples.reshape(particles, draws, 2)
            gradient = at / (1 - at) ** 2 * ((jax.nn.softmax(r, 1)[..., None] * samples).sum(1) - samples.mean(1))
        push = steer * gradient
        return (x + h * b + push, key), jnp.stack([jnp.sqrt((push**2).mean() / (b**2).mean()), *monitors(samples, r)])

    return f


@jax.jit
def run(p, key):
    key, k = jax.random.split(key)
    times = jnp.concatenate([jnp.zeros(1), jnp.linspace(0.01, 1, steps)])
    t, h = times[:-1], jnp.diff(times)
    at = jnp.maximum(t, 0.01)
    (x, key), series = jax.lax.scan(step(p), (jax.random.normal(k, (particles, 2)), key), (t, at, h, h * (1 - at) / at))
    return x, key, series


start = time.perf_counter()
x, key, series = run(weights, jax.random.PRNGKey(0))
np.asarray(x)
compiled = time.perf_counter() - start
start, n = time.perf_counter(), 0
while time.perf_counter() - start < a.seconds:
    x, key, series = run(weights, key)
    np.asarray(x)
    n += 1
print(json.dumps({"case": "steer", "loss": a.loss, "steps_per_s": n * steps / (time.perf_counter() - start), "compile_s": compiled}))

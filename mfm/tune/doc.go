// Package tune fine-tunes the drift of a base distribution toward p₁(x) e^{λ r(x)}/Z with a reward
// r. Ordinary samplers then draw from this tilted distribution without posterior samples or
// gradients (MFM-FT, arXiv 2601.14430).
//
// The tuned drift is b̂ = b + D. Its optimum is b* = b + (σ_t²/2) ∇V_t with the value
//
//	V_t(x) = log E[e^{λ r(I_1)} | I_t = x],
//
// whose gradient is a ratio of expectations. Multiplied by its denominator, the optimality of D is
// a condition without a ratio,
//
//	E[w D - (σ_t²/2) ∇_x w] = 0,   w = e^{λ r(X_{0,1}(ε; t, x)) - c},
//
// for which one posterior sample at each state (t, x) is enough, under any distribution of the
// states. The offset c may be any number that does not depend on ε. Every [Objective] is such a
// condition E[w] D = E[g], with the pair (w, g) as its [Regressand]. All are trained with the same
// loss, whose gradient is ∂D (w D - g):
//
//	|D + sg[(w - 1) D - g]|².
//
// The square of w D - g itself has another minimum, since its expectation contains the variance of
// w.
//
// MFM-FT is [MetaTuning]. [PlugIn], [RewardWeighted] and [AdjointMatching] are its baselines.
//
// A [Tuner] trains the [Network] of a [Task]. New conditions implement [Objective],
// new parametrizations of the drift [Network].
package tune

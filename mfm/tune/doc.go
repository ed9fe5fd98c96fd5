// Package tune fine-tunes the drift of a base law toward the law p₁(x) e^{λ r(x)}/Z of a reward r, so that afterwards the ordinary samplers draw from it without draws or gradients (MFM-FT, arXiv 2601.14430).
//
// The tuned drift is b̂ = b + D. Its optimum is b* = b + (σ_t²/2) ∇V_t with V_t(x) = log E[e^{λ r(I_1)} | I_t = x], a ratio of expectations. Multiplied by its denominator it is a condition without a ratio,
//
//	E[w D - (σ_t²/2) ∇_x w] = 0,   w = e^{λ r(X_{0,1}(ε; t, x)) - c},
//
// in which one draw ε of a posterior sample is enough, at states (t, x) of any law, and the offset c may be any number that does not depend on ε. Every [Method] is such a condition E[w] D = E[g], its
// [Regressand] the pair (w, g), and all are trained by the same loss, whose gradient is ∂D (w D - g):
//
//	|D + sg[(w - 1) D - g]|².
//
// Squaring w D - g itself would not do: its expectation has the variance of w in it, which moves the minimum.
package tune

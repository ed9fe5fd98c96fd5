package interpolant

// HalfSquaredNoise returns σ_t²/2 = (β'/β) α² - α' α, the diffusion coefficient at which the SDE
//
//	dX = [2 b_t(X) - (β'/β) X] dt + σ_t dW
//
// has the marginals of the ODE dx/dt = b_t(x) and is memoryless: X_1 does not depend on X_0 (Domingo-Enrich et al., arXiv 2409.08861). For the
// linear schedule it is (1-t)/t. It grows as 1/t towards t = 0 and is +Inf there.
func HalfSquaredNoise(ip Schedule, t float64) float64 {
	alpha, beta, dAlpha, dBeta := ip.At(t)
	return alpha * (dBeta*alpha - dAlpha*beta) / beta
}

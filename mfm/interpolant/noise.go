package interpolant

// HalfSquaredNoise returns σ_t²/2 = (β'/β) α² - α' α, the diffusion coefficient for which the SDE
//
//	dX = [2 b_t(X) - (β'/β) X] dt + σ_t dW
//
// has the marginals of the ODE dx/dt = b_t(x) and is memoryless: X_1 is independent of X_0
// (Domingo-Enrich et al., arXiv 2409.08861). For the linear schedule it is (1-t)/t. It grows as 1/t
// toward t = 0, where it is +Inf.
func HalfSquaredNoise(ip Schedule, t float64) float64 {
	alpha, beta, dAlpha, dBeta := ip.At(t)
	return alpha * (dBeta*alpha - dAlpha*beta) / beta
}

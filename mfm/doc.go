// Package mfm implements meta flow maps (arXiv 2601.14430).
//
// A stochastic interpolant I_t = α_t I_0 + β_t I_1 connects noise I_0 ~ N(0, I) at t = 0 with data
// I_1 at t = 1. Given a context (t, x), a noisy state I_t = x, the data has the posterior
// distribution p_{1|t}(.|x). A meta flow map is one network that for each context is the flow map
// of the ODE from noise at s = 0 to this posterior at s = 1,
//
//	X_{s,u}(x̄; t, x) = x̄ + (u-s) v_{s,u}(x̄; t, x),   0 <= s <= u <= 1.
//
// So X_{0,1}(ε; t, x) with ε ~ N(0, I) is a posterior sample in one evaluation. At t = 0 the
// context is pure noise and the posterior is the distribution of the data. The diagonal v_{s,s} is
// the drift of the ODE, and v_{t,t}(x; 0, .) is the drift b_t(x) = E[dI_t/dt | I_t = x] of the
// interpolant.
//
// A [Map] combines a schedule (α, β) of package interpolant, a backbone network of package nn and a
// [Parametrization], which turns the output of the network into v. The default, [Gaussian], leaves
// to the network only what Gaussian data with the same moments would not explain. A [Loss]
// regresses the diagonal on the drift of the posterior and ties v_{s,u} to it by a consistency
// loss, from the data alone or from the drift of a teacher. [NewTrainer] compiles map and loss into
// a trainer of package train. A [Sampler] draws posterior samples with the trained weights.
//
// Package steer guides samples by a reward without training, and package tune trains a drift for a
// reward. Both use posterior samples of the map. Package gmm has Gaussian mixtures, whose
// densities, drifts and posteriors have closed forms: the exact reference for the rest.
//
// The following program trains a map on four points of the line and samples the posterior given
// x_0.9 = 2.7, which leaves one of them. must returns its first argument, or panics on an error.
//
//	ctx, b := context.Background(), must(backend.New("go"))
//	source := must(train.DataSet(tensors.FromValue([][]float32{{-3}, {-1}, {1}, {3}}), nil))
//	network := nn.DefaultMLP()
//	network.Width, network.Depth = 16, 2
//	m := &mfm.Map{
//		Interpolant:     interpolant.Linear{},
//		Backbone:        nn.MLP(network),
//		Parametrization: &mfm.Gaussian{Variance: []float64{5}},
//	}
//	config := mfm.DefaultTrainConfig() // the mean flow loss, from the data alone
//	config.Steps, config.Batch, config.EMA = 200, 128, nil
//	config.Optimizer.Rate = 1e-2
//	trainer := must(mfm.NewTrainer(b, m, source, nil, config))
//	if err := trainer.Run(ctx); err != nil {
//		panic(err)
//	}
//	trained := mfm.Model{Map: m, Weights: trainer.Store().Scope(train.WeightsScope), Shape: []int{1}}
//	sampler := must(mfm.NewSampler(b, trained, mfm.DefaultSamplerConfig())) // one step per sample
//	x := mfm.Points([][]float64{{2.7}})
//	samples := must(mfm.Flat(sampler.Posterior(ctx, 1, 0.9, x, 1000, nil)))
//	mean := float32(0)
//	for _, x := range samples {
//		mean += x / 1000
//	}
//	fmt.Printf("%.0f\n", mean) // 3
package mfm

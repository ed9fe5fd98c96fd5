package reward

// Host is a reward in plain Go, for what cannot be a graph: a simulator, another program, a person. It is given samples one after the other, [n, ...] in a flat slice, whose shape is that
// of all of them, and returns one number a sample. It has no gradient. What it returns is treated as a [Reward]'s numbers are: -Inf gives no weight, NaN and +Inf neither, and are reported.
// An error ends the run.
type Host func(samples []float32, shape []int) ([]float64, error)

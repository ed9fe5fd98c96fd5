package metric

import "math"

// Coverage returns how much of a value lies within the central interval of a share in (0, 1) of its
// n samples, in [0, 1], given its rank, the number of samples below it. If the value is distributed
// as its samples are, all ranks 0, ..., n are equally likely and the mean of Coverage is the share,
// for every n: the interval leaves out as many ranks at each end, the last of them in part.
func Coverage(rank, n int, share float64) float64 {
	if rank == n-rank { // of a rank in the middle both ends may leave out a part
		return math.Min(float64(n+1)*share, 1)
	}
	end := float64(min(rank, n-rank))
	return math.Min(math.Max(end+1-float64(n+1)*(1-share)/2, 0), 1)
}

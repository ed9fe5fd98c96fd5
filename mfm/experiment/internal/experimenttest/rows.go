package experimenttest

import "slices"

// LatentRows passes the rows of a cache of n latents [2, 2, 1], from first on, to add: the moments
// of a latent and of its mirror image, and its label. The moments of row i are i and std, those of
// its mirror image i + 1/2 and std/2; its label is i modulo 2.
func LatentRows(first, n int, std float32, add func(moments []float32, label int32) error) error {
	for i := first; i < n; i++ {
		var m []float32
		for k := range 2 {
			m = append(m, slices.Repeat([]float32{float32(i) + 0.5*float32(k)}, 4)...)
			m = append(m, slices.Repeat([]float32{std / float32(k+1)}, 4)...)
		}
		if err := add(m, int32(i%2)); err != nil {
			return err
		}
	}
	return nil
}

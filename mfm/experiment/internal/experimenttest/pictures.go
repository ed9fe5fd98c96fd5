package experimenttest

import (
	"math/rand/v2"

	"github.com/gomfm/gomfm/data"
)

// Pictures returns n images of 8x8 pixels, each of one random color with a darker left half,
// labeled by whether red is strong.
func Pictures(n int) *data.Images {
	rng := rand.New(rand.NewPCG(1, 0))
	m := &data.Images{N: n, Height: 8, Width: 8, Channels: 3}
	for range n {
		color := [3]byte{byte(rng.IntN(256)), byte(rng.IntN(256)), byte(rng.IntN(256))}
		for p := range 64 {
			for _, level := range color {
				if p%8 < 4 {
					level /= 2
				}
				m.Pixels = append(m.Pixels, level)
			}
		}
		m.Labels = append(m.Labels, int32(color[0]/128))
	}
	return m
}

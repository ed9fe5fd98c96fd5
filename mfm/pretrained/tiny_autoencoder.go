package pretrained

import (
	"fmt"

	"github.com/gomfm/gomfm/mfm/nn"
)

// TinyEncoder returns the parameters of the encoder of [nn.TinyAutoencoder] in the names of the
// TAESD family: numbers of the layers of a sequence.
func TinyEncoder(a nn.TinyAutoencoder) []Weight {
	l := list{}
	l.convolution("0", "encoder/input", 3, a.Images, tinyWidth)
	l.tinyBlock("1", "encoder/block_3_0", false)
	layer := 2
	for level := tinyCoarsest; level >= 0; level-- {
		l.add(fmt.Sprintf("%d.weight", layer), fmt.Sprintf("encoder/down_%d/weights", level), Convolution,
			tinyWidth, tinyWidth, 3, 3)
		for i := range 3 {
			l.tinyBlock(fmt.Sprint(layer+1+i), fmt.Sprintf("encoder/block_%d_%d", level, i), a.MiddleNorm && level == 0)
		}
		layer += 4
	}
	l.convolution(fmt.Sprint(layer), "encoder/output", 3, tinyWidth, a.Latents)
	return l
}

// TinyDecoder returns the parameters of the decoder of [nn.TinyAutoencoder].
func TinyDecoder(a nn.TinyAutoencoder) []Weight {
	l := list{}
	l.convolution("1", "decoder/input", 3, a.Latents, tinyWidth)
	layer := 3
	for level := range tinyCoarsest + 1 {
		for i := range 3 {
			l.tinyBlock(fmt.Sprint(layer+i), fmt.Sprintf("decoder/block_%d_%d", level, i), a.MiddleNorm && level == 0)
		}
		l.add(fmt.Sprintf("%d.weight", layer+4), fmt.Sprintf("decoder/up_%d/weights", level), Convolution,
			tinyWidth, tinyWidth, 3, 3)
		layer += 5
	}
	l.tinyBlock(fmt.Sprint(layer), "decoder/block_3_0", false)
	l.convolution(fmt.Sprint(layer+1), "decoder/output", 3, tinyWidth, a.Images)
	return l
}

const (
	tinyWidth    = 64
	tinyCoarsest = 2 // index of the last of three levels below the finest
)

func (l *list) tinyBlock(file, path string, norm bool) {
	for i := range 3 {
		l.convolution(fmt.Sprintf("%s.conv.%d", file, 2*i), fmt.Sprintf("%s/conv_%d", path, i), 3, tinyWidth, tinyWidth)
	}
	if !norm {
		return
	}
	l.add(file+".pool.0.weight", path+"/branch_in/weights", PatchEmbedding, 4*tinyWidth, tinyWidth, 1, 1)
	l.norm(file+".pool.1", path+"/branch_norm", 4*tinyWidth)
	l.add(file+".pool.3.weight", path+"/branch_out/weights", PatchEmbedding, tinyWidth, 4*tinyWidth, 1, 1)
}

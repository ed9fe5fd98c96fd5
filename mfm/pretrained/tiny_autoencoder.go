package pretrained

import (
	"fmt"

	"github.com/gomfm/gomfm/mfm/nn"
)

// TinyEncoderWeights returns the weights of the encoder of [nn.TinyAutoencoder] in the names of the
// TAESD family: numbers of the layers of a sequence.
func TinyEncoderWeights(a nn.TinyAutoencoder) []Weight {
	l := list{}
	l.convolution("0", "encoder/input", 3, a.Images, tinyWidth)
	l.tinyBlock("1", "encoder/block_0_0", false)
	layer := 2
	for level := 1; level <= tinyCoarsest; level++ {
		l.add(fmt.Sprintf("%d.weight", layer), fmt.Sprintf("encoder/down_%d/weights", level), Convolution,
			tinyWidth, tinyWidth, 3, 3)
		for i := range 3 {
			l.tinyBlock(fmt.Sprint(layer+1+i), fmt.Sprintf("encoder/block_%d_%d", level, i), a.MiddleNorm && level == tinyCoarsest)
		}
		layer += 4
	}
	l.convolution(fmt.Sprint(layer), "encoder/output", 3, tinyWidth, a.Latents)
	return l
}

// TinyDecoderWeights returns the weights of the decoder of [nn.TinyAutoencoder] in the names of the
// TAESD family.
func TinyDecoderWeights(a nn.TinyAutoencoder) []Weight {
	l := list{}
	l.convolution("1", "decoder/input", 3, a.Latents, tinyWidth)
	layer := 3
	for level := tinyCoarsest; level > 0; level-- {
		for i := range 3 {
			l.tinyBlock(fmt.Sprint(layer+i), fmt.Sprintf("decoder/block_%d_%d", level, i), a.MiddleNorm && level == tinyCoarsest)
		}
		l.add(fmt.Sprintf("%d.weight", layer+4), fmt.Sprintf("decoder/up_%d/weights", level), Convolution,
			tinyWidth, tinyWidth, 3, 3)
		layer += 5
	}
	l.tinyBlock(fmt.Sprint(layer), "decoder/block_0_0", false)
	l.convolution(fmt.Sprint(layer+1), "decoder/output", 3, tinyWidth, a.Images)
	return l
}

const (
	tinyWidth    = 64
	tinyCoarsest = 3 // the coarsest level; 0 is the finest
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

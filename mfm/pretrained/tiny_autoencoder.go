package pretrained

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gomfm/gomfm/mfm/checkpoint"
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

// importTiny returns the variables of an [nn.TinyAutoencoder] from the tensors of both parts, which
// it frees: below "encoder." and "decoder." in the names of [TinyEncoderWeights] and
// [TinyDecoderWeights], or in those of diffusers' AutoencoderTiny, below "encoder.layers." and
// "decoder.layers.".
func importTiny(from checkpoint.Tensors, a nn.TinyAutoencoder) (checkpoint.Tensors, error) {
	var all list
	parts := map[string][]Weight{"encoder.": TinyEncoderWeights(a), "decoder.": TinyDecoderWeights(a)}
	for part, weights := range parts {
		for _, w := range weights {
			if isDiffusersTiny(from) {
				// The decoder's first layer, which squashes the latents, has no number there.
				number, rest, _ := strings.Cut(w.File, ".")
				if n, _ := strconv.Atoi(number); part == "decoder." {
					number = fmt.Sprint(n - 1)
				}
				w.File = "layers." + number + "." + rest
			}
			w.File = part + w.File
			all = append(all, w)
		}
	}
	return imported(from, all, true)
}

// TinyParts returns the tensors of both parts of a tiny autoencoder from the files of each.
func TinyParts(encoder, decoder checkpoint.Tensors) checkpoint.Tensors {
	both := make(checkpoint.Tensors, len(encoder)+len(decoder))
	for part, tensors := range map[string]checkpoint.Tensors{"encoder.": encoder, "decoder.": decoder} {
		for name, t := range tensors {
			both[part+name] = t
		}
	}
	return both
}

func isDiffusersTiny(from checkpoint.Tensors) bool { return from["encoder.layers.0.weight"] != nil }

// detectTiny returns the configuration of a tiny autoencoder that has these tensors.
func detectTiny(from checkpoint.Tensors) nn.TinyAutoencoder {
	a := nn.TinyAutoencoder{Checkpoint: true}
	for _, prefix := range []string{"", "layers."} {
		if t := from["encoder."+prefix+"0.weight"]; t != nil && t.Rank() == 4 {
			a.Images = t.Shape().Dimensions[1]
		}
	}
	for _, name := range []string{"decoder.1.weight", "decoder.layers.0.weight"} {
		if t := from[name]; t != nil && t.Rank() == 4 {
			a.Latents = t.Shape().Dimensions[1]
		}
	}
	for name := range from {
		a.MiddleNorm = a.MiddleNorm || strings.Contains(name, ".pool.")
	}
	return a
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

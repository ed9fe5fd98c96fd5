package pretrained

import (
	"fmt"
	"strings"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/nn"
)

// AutoencoderWeights returns the weights of [nn.Autoencoder] in the names of diffusers'
// AutoencoderKL.
func AutoencoderWeights(c nn.AutoencoderConfig) []Weight {
	l := list{}
	coarsest := len(c.Channels) - 1
	top := c.Channels[coarsest]
	l.convolution("encoder.conv_in", "encoder/input", 3, c.Images, c.Channels[0])
	in := c.Channels[0]
	for level, channels := range c.Channels {
		file := fmt.Sprintf("encoder.down_blocks.%d.", level)
		for i := range c.Blocks {
			l.residual(fmt.Sprintf("%sresnets.%d", file, i), fmt.Sprintf("encoder/down_%d_%d", level, i), in, channels)
			in = channels
		}
		if level < coarsest {
			l.convolution(file+"downsamplers.0.conv", fmt.Sprintf("encoder/down_%d", level), 3, channels, channels)
		}
	}
	l.middle("encoder.mid_block.", "encoder/", top)
	l.norm("encoder.conv_norm_out", "encoder/output_norm", top)
	l.convolution("encoder.conv_out", "encoder/output", 3, top, 2*c.Latents)
	l.pointwise("quant_conv", "moments", 2*c.Latents, 2*c.Latents)

	l.pointwise("post_quant_conv", "latents", c.Latents, c.Latents)
	l.convolution("decoder.conv_in", "decoder/input", 3, c.Latents, top)
	l.middle("decoder.mid_block.", "decoder/", top)
	in = top
	for level := coarsest; level >= 0; level-- {
		channels := c.Channels[level]
		file := fmt.Sprintf("decoder.up_blocks.%d.", coarsest-level)
		for i := range c.Blocks + 1 {
			l.residual(fmt.Sprintf("%sresnets.%d", file, i), fmt.Sprintf("decoder/up_%d_%d", level, i), in, channels)
			in = channels
		}
		if level > 0 {
			l.convolution(file+"upsamplers.0.conv", fmt.Sprintf("decoder/up_%d", level), 3, channels, channels)
		}
	}
	l.norm("decoder.conv_norm_out", "decoder/output_norm", in)
	l.convolution("decoder.conv_out", "decoder/output", 3, in, c.Images)
	return l
}

// ImportAutoencoder is [Import] for [nn.Autoencoder]. The linear layers of the attention may have
// the names of diffusers before 0.12, as in the files sd-vae-ft-mse and -ema.
func ImportAutoencoder(from checkpoint.Tensors, c nn.AutoencoderConfig) (checkpoint.Tensors, error) {
	return importAutoencoder(from, c, false)
}

func importAutoencoder(from checkpoint.Tensors, c nn.AutoencoderConfig, move bool) (checkpoint.Tensors, error) {
	present := strings.NewReplacer(".0.query.", ".0.to_q.", ".0.key.", ".0.to_k.", ".0.value.", ".0.to_v.",
		".0.proj_attn.", ".0.to_out.0.")
	renamed := make(checkpoint.Tensors, len(from))
	for name, t := range from {
		if strings.Contains(name, ".mid_block.attentions.0.") {
			name = present.Replace(name)
		}
		if renamed[name] != nil {
			return nil, fmt.Errorf("tensor %q occurs twice, by its names of old and of new versions", name)
		}
		renamed[name] = t
	}
	return imported(renamed, AutoencoderWeights(c), move)
}

// residual adds the weights of a residual block.
func (l *list) residual(file, path string, in, out int) {
	l.norm(file+".norm1", path+"/norm_0", in)
	l.convolution(file+".conv1", path+"/conv_0", 3, in, out)
	l.norm(file+".norm2", path+"/norm_1", out)
	l.convolution(file+".conv2", path+"/conv_1", 3, out, out)
	if in != out {
		l.pointwise(file+".conv_shortcut", path+"/skip", in, out)
	}
}

// middle adds the weights of the blocks at the coarsest level.
func (l *list) middle(file, path string, channels int) {
	l.residual(file+"resnets.0", path+"middle_0", channels, channels)
	l.residual(file+"resnets.1", path+"middle_1", channels, channels)
	attention := file + "attentions.0."
	l.norm(attention+"group_norm", path+"attention/norm", channels)
	for _, part := range [][2]string{{"to_q", "query"}, {"to_k", "key"}, {"to_v", "value"}, {"to_out.0", "out"}} {
		l.linear(attention+part[0], path+"attention/"+part[1], channels, channels)
	}
}

// pointwise adds the weights of a convolution of one pixel.
func (l *list) pointwise(file, path string, in, out int) {
	l.add(file+".weight", path+"/weights", PatchEmbedding, out, in, 1, 1)
	l.add(file+".bias", path+"/biases", Same, out)
}

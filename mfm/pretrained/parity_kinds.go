package pretrained

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/clip"
	"github.com/gomfm/gomfm/mfm/pretrained/internal/clipconfig"
)

// integer returns the metadata of a name as an integer.
func (r *Reference) integer(name string) (int, error) {
	n, err := strconv.Atoi(r.Metadata[name])
	if err != nil {
		return 0, fmt.Errorf("metadata %q is %q, want an integer", name, r.Metadata[name])
	}
	return n, nil
}

// integers fills each variable with the metadata of its name.
func (r *Reference) integers(to map[string]*int) (err error) {
	for name, value := range to {
		if *value, err = r.integer(name); err != nil {
			return err
		}
	}
	return nil
}

// decode fills a slice from the metadata of a name, a list in the notation of Python. Absent
// metadata leave it unchanged.
func (r *Reference) decode(name string, to any) error {
	text, ok := r.Metadata[name]
	if !ok {
		return nil
	}
	list := strings.NewReplacer("(", "[", ",)", "]", ")", "]", "'", `"`).Replace(text)
	if err := json.Unmarshal([]byte(list), to); err != nil {
		return fmt.Errorf("metadata %q is %q, want a list", name, text)
	}
	return nil
}

// transformerParity is the paper's transformer: v, its derivatives along (s, x̄) and u in the
// directions (1, tangent) and 1, and the gradient of <v, tangent> in the context.
var transformerParity = parityKind{
	name:   "transformer",
	inputs: []string{"s", "u", "t", "x", "x_cond", "tangent"},
	recognizes: func(r *Reference) bool {
		return IsDiT(r.Weights) && r.Metadata["encoder_depth"] != ""
	},
	network: func(r *Reference) (checkpoint.Tensors, outputs, error) {
		c, channels, err := transformerConfig(r)
		if err != nil {
			return nil, nil, err
		}
		weights, err := importDiT(r.Weights, c, channels, true)
		return weights, func(scope *model.Scope, x map[string]*Node) func(string) *Node {
			in := nn.Inputs{
				S: x["s"], U: x["u"], T: x["t"], Xbar: channelsLast(x["x"]), X: channelsLast(x["x_cond"]),
				Class: x["class"], Guidance: x["cfg_scale"], ContextGuidance: x["x_cond_scale"],
			}
			v := c.Backbone()(scope, in)
			return func(name string) *Node {
				switch name {
				case "v":
					return channelsFirst(v)
				case "jvp_s_x":
					tangents := []*Node{OnesLike(in.S), channelsLast(x["tangent"])}
					return channelsFirst(ad.JVP([]*Node{v}, []*Node{in.S, in.Xbar}, tangents)[0])
				case "jvp_u":
					return channelsFirst(ad.JVP([]*Node{v}, []*Node{in.U}, []*Node{OnesLike(in.U)})[0])
				case "grad_x_cond":
					return channelsFirst(Gradient(ReduceAllSum(Mul(v, channelsLast(x["tangent"]))), in.X)[0])
				}
				return nil
			}
		}, err
	},
}

// sitParity is a SiT, or a flow map of Decoupled MeanFlow, as the start of a transformer: v for a
// context at t = 0 that differs from the state, without effect.
var sitParity = parityKind{
	name:   "SiT",
	inputs: []string{"s", "u", "x"},
	recognizes: func(r *Reference) bool {
		return r.Weights[DiTAnchor] != nil && r.Metadata["encoder_depth"] != ""
	},
	network: func(r *Reference) (checkpoint.Tensors, outputs, error) {
		c, channels, err := transformerConfig(r)
		if err != nil {
			return nil, nil, err
		}
		weights, err := importSiT(r.Weights, c, channels)
		return weights, func(scope *model.Scope, x map[string]*Node) func(string) *Node {
			xbar := channelsLast(x["x"])
			v := c.Backbone()(scope, nn.Inputs{
				S: x["s"], U: x["u"], T: ZerosLike(x["s"]), Xbar: xbar, X: OnePlus(xbar), Class: x["class"],
			})
			return func(name string) *Node {
				if name != "v" {
					return nil
				}
				return channelsFirst(v)
			}
		}, err
	},
}

// transformerConfig returns the configuration of a transformer and the channels of its images.
func transformerConfig(r *Reference) (c nn.DiTConfig, channels int, err error) {
	err = r.integers(map[string]*int{
		"patch_size": &c.Patch, "hidden_size": &c.Width, "depth": &c.Depth, "encoder_depth": &c.Encoder,
		"num_heads": &c.Heads, "label_dim": &c.Classes, "in_channels": &channels,
	})
	if err != nil {
		return c, 0, err
	}
	c.Reversed = r.Metadata["is_zero_data"] != "False"
	c.QKNorm = r.Metadata["qk_norm"] == "True"
	_, rms := queryNorm(r.Weights)
	c.QKNormRMS = c.QKNorm && rms
	c.BlindAtZero = r.Metadata["preserve_t_cond_0"] == "True"
	c.JointAttention = r.Metadata["use_joint_attention"] == "True"
	if c.JointAttention && c.BlindAtZero {
		return c, 0, errors.New(
			"joint attention with preserve_t_cond_0: the original's sees the context at t = 0, ours does not")
	}
	if err := r.decode("model_guidance_class_ws", &c.Guidance); err != nil {
		return c, 0, err
	}
	if err := r.decode("model_guidance_x_cond_ws", &c.ContextGuidance); err != nil {
		return c, 0, err
	}
	return c, channels, c.Validate()
}

// autoencoderParity is the autoencoder of latent diffusion in diffusers' names: the mean and log
// variance of an image's latents, the image of latents, and the gradient of <image, w> in them; by
// tiles if the metadata have tile_sample_min_size.
var autoencoderParity = parityKind{
	name:   "autoencoder",
	inputs: []string{"image", "latent", "w"},
	recognizes: func(r *Reference) bool {
		return r.Weights["post_quant_conv.weight"] != nil && r.Metadata["block_out_channels"] != ""
	},
	network: func(r *Reference) (checkpoint.Tensors, outputs, error) {
		a := nn.Autoencoder{AutoencoderConfig: nn.AutoencoderConfig{Scale: 1}}
		values := map[string]*int{
			"in_channels": &a.Images, "latent_channels": &a.Latents, "layers_per_block": &a.Blocks,
			"norm_num_groups": &a.Groups,
		}
		if _, ok := r.Metadata["tile_sample_min_size"]; ok {
			values["tile_sample_min_size"] = &a.Tile
		}
		err := r.integers(values)
		if err == nil {
			err = r.decode("block_out_channels", &a.Channels)
		}
		if err == nil {
			err = a.Validate()
		}
		if err != nil {
			return nil, nil, err
		}
		weights, err := ImportAutoencoder(r.Weights, a.AutoencoderConfig)
		return weights, func(scope *model.Scope, x map[string]*Node) func(string) *Node {
			mean, logVariance := a.Encode(scope, channelsLast(x["image"]))
			latent := channelsLast(x["latent"])
			image := a.Decode(scope, latent)
			return func(name string) *Node {
				switch name {
				case "mean":
					return channelsFirst(mean)
				case "logvar":
					return channelsFirst(logVariance)
				case "image":
					return channelsFirst(image)
				case "grad_latent":
					return channelsFirst(Gradient(ReduceAllSum(Mul(image, channelsLast(x["w"]))), latent)[0])
				}
				return nil
			}
		}, err
	},
}

// efficientNetParity is an EfficientNet-Lite in the names of efficientnet-lite-pytorch: features
// and logits of an image in [-1, 1], and the gradient of <logits, w> in it.
var efficientNetParity = parityKind{
	name:   "efficientnet",
	inputs: []string{"image", "w"},
	recognizes: func(r *Reference) bool {
		return r.Weights[EfficientNetAnchor] != nil && r.Metadata["stages"] != ""
	},
	network: func(r *Reference) (checkpoint.Tensors, outputs, error) {
		e, err := efficientNetConfig(r)
		if err != nil {
			return nil, nil, err
		}
		weights, err := ImportEfficientNet(r.Weights, e.EfficientNetConfig)
		return weights, func(scope *model.Scope, x map[string]*Node) func(string) *Node {
			image := channelsLast(x["image"])
			features, logits := e.Evaluate(scope, image)
			return func(name string) *Node {
				switch name {
				case "features":
					return features
				case "logits":
					return logits
				case "grad_image":
					return channelsFirst(Gradient(ReduceAllSum(Mul(logits, x["w"])), image)[0])
				}
				return nil
			}
		}, err
	},
}

// efficientNetConfig returns the configuration of an EfficientNet-Lite, whose stages are lists of
// the numbers of [nn.EfficientNetStage] in the order of its fields.
func efficientNetConfig(r *Reference) (e nn.EfficientNet, err error) {
	var stages [][]int
	if err := r.decode("stages", &stages); err != nil {
		return e, err
	}
	for _, s := range stages {
		if len(s) != 5 {
			return e, fmt.Errorf("metadata \"stages\" has %v, want blocks, kernel, stride, expand and channels", s)
		}
		e.Stages = append(e.Stages, nn.EfficientNetStage{
			Blocks: s[0], Kernel: s[1], Stride: s[2], Expand: s[3], Channels: s[4],
		})
	}
	err = r.integers(map[string]*int{"stem": &e.Stem, "features": &e.Features, "classes": &e.Classes})
	if err != nil {
		return e, err
	}
	return e, e.Validate()
}

// inceptionParity is the Inception network of pytorch-fid: the features of an image in [-1, 1].
var inceptionParity = parityKind{
	name:       "inception",
	inputs:     []string{"image"},
	recognizes: func(r *Reference) bool { return r.Weights[InceptionAnchor] != nil },
	network: func(r *Reference) (checkpoint.Tensors, outputs, error) {
		n := inceptionOf(r.Weights)
		weights, err := ImportInception(r.Weights, n)
		return weights, func(scope *model.Scope, x map[string]*Node) func(string) *Node {
			return func(name string) *Node {
				if name != "features" {
					return nil
				}
				return n.Embed(scope, channelsLast(x["image"]))
			}
		}, err
	},
}

// clipParity is a pair of CLIP's networks, of transformers with the metadata "text" and "vision",
// its two configurations, or of OpenCLIP with "model_cfg": embeddings of length 1 of images and of
// texts, the logits of their matches, and the gradient of the sum of these in the normalized
// images.
var clipParity = parityKind{
	name:   "clip",
	inputs: []string{"pixel_values", "input_ids"},
	recognizes: func(r *Reference) bool {
		return r.Metadata["model_cfg"] != "" || r.Metadata["text"] != "" && r.Metadata["vision"] != ""
	},
	network: func(r *Reference) (checkpoint.Tensors, outputs, error) {
		c, err := clipReferenceConfig(r)
		if err != nil {
			return nil, nil, err
		}
		weights, err := ImportCLIP(r.Weights, c)
		return weights, func(scope *model.Scope, x map[string]*Node) func(string) *Node {
			pixels := x["pixel_values"]
			images := c.EmbedImages(scope, clip.Denormalize(channelsLast(pixels)))
			texts := c.EmbedTexts(scope, x["input_ids"])
			logits := Mul(c.Scale(scope, images), clip.Cosines(images, texts))
			return func(name string) *Node {
				switch name {
				case "image_embeds":
					return clip.Unit(images)
				case "text_embeds":
					return clip.Unit(texts)
				case "logits_per_image":
					return logits
				case "grad_pixel_values":
					return Gradient(ReduceAllSum(logits), pixels)[0]
				}
				return nil
			}
		}, err
	},
}

func clipReferenceConfig(r *Reference) (clip.Config, error) {
	if raw := r.Metadata["model_cfg"]; raw != "" {
		return clipconfig.OpenCLIP([]byte(raw))
	}
	t := r.Weights["text_projection.weight"]
	if t == nil || t.Rank() != 2 {
		return clip.Config{}, errors.New(`no matrix "text_projection.weight", which has the size of embeddings`)
	}
	return clipconfig.Transformers([]byte(r.Metadata["text"]), []byte(r.Metadata["vision"]), t.Shape().Dim(0))
}

// driftParity is the conditional drift of an isotropic Gaussian mixture on the linear interpolant.
var driftParity = parityKind{
	name:   "conditional drift",
	inputs: []string{"s", "x_bar", "t", "x", "log_weight", "mu", "std"},
	recognizes: func(r *Reference) bool {
		return r.In["x_bar"] != nil && r.In["log_weight"] != nil && r.Out["drift"] != nil
	},
	network: func(r *Reference) (checkpoint.Tensors, outputs, error) {
		return nil, func(_ *model.Scope, x map[string]*Node) func(string) *Node {
			drift := mixtureDrift(x["log_weight"], x["mu"], x["std"])
			return func(name string) *Node {
				if name != "drift" {
					return nil
				}
				return interpolant.ConditionalDrift(interpolant.Linear{}, drift, x["s"], x["x_bar"], x["t"], x["x"], nil)
			}
		}, nil
	},
}

// mixtureDrift returns the drift E[I_1 - I_0 | I_t = x] of the linear interpolant to the mixture of
// N(mean_k, std_k² I). Each component's is (μ_k - x)/(1-t) weighted by its variances: with v =
// (1-t)² + t² std², it is mean + (t std² - (1-t))/v (x - t mean).
func mixtureDrift(logWeight, mean, std *Node) interpolant.Drift {
	return func(t, x, _ *Node) *Node {
		dim := float64(x.Shape().Dim(1))
		time := InsertAxes(t, -1)                                                              // [batch, 1]
		variance := Add(Square(OneMinus(time)), Mul(Square(time), InsertAxes(Square(std), 0))) // [batch, k]
		centered := Sub(InsertAxes(x, 1), Mul(InsertAxes(time, -1), InsertAxes(mean, 0)))      // [batch, k, dim]
		square := Div(ReduceSum(Square(centered), -1), variance)
		logits := Sub(InsertAxes(logWeight, 0), MulScalar(Add(square, MulScalar(Log(variance), dim)), 0.5))
		slope := Div(Sub(Mul(time, InsertAxes(Square(std), 0)), OneMinus(time)), variance)
		each := Add(InsertAxes(mean, 0), Mul(InsertAxes(slope, -1), centered))
		return ReduceSum(Mul(InsertAxes(Softmax(logits, -1), -1), each), 1)
	}
}

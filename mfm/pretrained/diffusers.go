package pretrained

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/gomlx/compute/dtypes/float16"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/internal/half"
	"github.com/gomfm/gomfm/mfm/internal/strictjson"
	"github.com/gomfm/gomfm/mfm/nn"
)

// Files of a model's folder in the form of diffusers.
const (
	diffusersConfig = "config.json"
	diffusersFile   = "diffusion_pytorch_model.safetensors"
	diffusersBin    = "diffusion_pytorch_model.bin"
)

// diffusersAutoencoder has the keys of diffusers' AutoencoderKL that matter here.
type diffusersAutoencoder struct {
	Class       string   `json:"_class_name"`
	Activation  string   `json:"act_fn"`
	Channels    []int    `json:"block_out_channels"`
	Down        []string `json:"down_block_types"`
	Up          []string `json:"up_block_types"`
	Images      int      `json:"in_channels"`
	Out         int      `json:"out_channels"`
	Latents     int      `json:"latent_channels"`
	Blocks      int      `json:"layers_per_block"`
	Groups      int      `json:"norm_num_groups"`
	Scale       float64  `json:"scaling_factor"`
	Shift       float64  `json:"shift_factor"`
	Size        int      `json:"sample_size"`
	QuantConv   bool     `json:"use_quant_conv"`
	PostQuant   bool     `json:"use_post_quant_conv"`
	MiddleBlock bool     `json:"mid_block_add_attention"`
}

// OpenAutoencoder reads an autoencoder from a folder in the form of diffusers' AutoencoderKL, such
// as sd-vae-ft-mse: config.json, and the weights in diffusion_pytorch_model.safetensors or .bin, of
// which those of the older names of attention (query, proj_attn) are read as well. Without
// config.json the autoencoder is that of Stable Diffusion ([nn.StableDiffusionAutoencoder]). The
// weights have their paths below the network's scope. It returns an error for a model of another
// class, and for settings of the class that [nn.Autoencoder] does not have.
func OpenAutoencoder(dir string) (nn.Autoencoder, checkpoint.Tensors, error) {
	config, err := readAutoencoderConfig(filepath.Join(dir, diffusersConfig))
	if errors.Is(err, fs.ErrNotExist) && len(AutoencoderFiles(dir)) > 0 {
		config, err = nn.StableDiffusionAutoencoder(), nil
	}
	if err != nil {
		return nn.Autoencoder{}, nil, fmt.Errorf("autoencoder %s: %s: %w", dir, diffusersConfig, err)
	}
	tensors, _, err := Open(filepath.Join(dir, diffusersFile))
	if errors.Is(err, fs.ErrNotExist) {
		if tensors, _, err = Open(filepath.Join(dir, diffusersBin)); errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("neither %s nor %s: %w", diffusersFile, diffusersBin, fs.ErrNotExist)
		}
	}
	if err == nil {
		tensors, err = importAutoencoder(tensors, config, true)
	}
	if err != nil {
		return nn.Autoencoder{}, nil, fmt.Errorf("autoencoder %s: %w", dir, err)
	}
	return nn.Autoencoder{AutoencoderConfig: config}, tensors, nil
}

// AutoencoderFiles returns the names of the files in dir that [OpenAutoencoder] reads: config.json,
// if it exists, and then the weights, if they do.
func AutoencoderFiles(dir string) (names []string) {
	for _, name := range []string{diffusersConfig, diffusersFile, diffusersBin} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil && (name != diffusersBin || !slices.Contains(names, diffusersFile)) {
			names = append(names, name)
		}
	}
	return names
}

// readAutoencoderConfig reads config.json. Keys that do not change the network are not checked.
func readAutoencoderConfig(path string) (nn.AutoencoderConfig, error) {
	raw, err := readConfig(path)
	if err != nil {
		return nn.AutoencoderConfig{}, err
	}
	// The defaults of the class.
	d := diffusersAutoencoder{
		Activation: "silu", Channels: []int{64}, Images: 3, Out: 3, Latents: 4, Blocks: 1, Groups: 32, Scale: 0.18215,
		QuantConv: true, PostQuant: true, MiddleBlock: true,
	}
	for key, value := range map[string]any{
		"_class_name": &d.Class, "act_fn": &d.Activation, "block_out_channels": &d.Channels, "down_block_types": &d.Down,
		"up_block_types": &d.Up, "in_channels": &d.Images, "out_channels": &d.Out, "latent_channels": &d.Latents,
		"layers_per_block": &d.Blocks, "norm_num_groups": &d.Groups, "scaling_factor": &d.Scale,
		"use_quant_conv": &d.QuantConv, "use_post_quant_conv": &d.PostQuant, "mid_block_add_attention": &d.MiddleBlock,
	} {
		if _, err := strictjson.Lookup(raw, key, value); err != nil {
			return nn.AutoencoderConfig{}, err
		}
	}
	var shift *float64
	if _, err := strictjson.Lookup(raw, "shift_factor", &shift); err != nil {
		return nn.AutoencoderConfig{}, err
	}
	if shift != nil {
		d.Shift = *shift
	}
	other := func(block string) func(string) bool { return func(b string) bool { return b != block } }
	switch {
	case d.Class != "AutoencoderKL":
		return nn.AutoencoderConfig{}, fmt.Errorf("_class_name is %q, want AutoencoderKL", d.Class)
	case d.Down != nil && len(d.Down) != len(d.Channels), d.Up != nil && len(d.Up) != len(d.Channels):
		return nn.AutoencoderConfig{}, fmt.Errorf("block_out_channels has %d levels, down_block_types %d and "+
			"up_block_types %d: they must be equal", len(d.Channels), len(d.Down), len(d.Up))
	case d.Activation != "silu" || d.Out != d.Images || !d.QuantConv || !d.PostQuant || !d.MiddleBlock ||
		slices.ContainsFunc(d.Down, other("DownEncoderBlock2D")) || slices.ContainsFunc(d.Up, other("UpDecoderBlock2D")):
		return nn.AutoencoderConfig{}, errors.New("the model has settings that are not supported: want act_fn silu, " +
			"as many out_channels as in_channels, both quant convolutions, attention in the middle block, and blocks " +
			"DownEncoderBlock2D and UpDecoderBlock2D")
	}
	c := nn.AutoencoderConfig{
		Images: d.Images, Latents: d.Latents, Channels: d.Channels, Blocks: d.Blocks, Groups: d.Groups, Scale: d.Scale,
		Shift: d.Shift, Checkpoint: true,
	}
	return c, c.Validate()
}

// WriteAutoencoder writes an autoencoder, with its weights by their paths below the network's
// scope, to a folder that [OpenAutoencoder] and diffusers' AutoencoderKL.from_pretrained read. side
// is that of the images for which the network was trained. The weights are rounded to float16; one
// beyond it is an error. origin becomes metadata of the weights.
func WriteAutoencoder(dir string, a nn.Autoencoder, weights checkpoint.Tensors, side int, origin map[string]string) error {
	if err := a.Validate(); err != nil {
		return err
	}
	file, err := Export(weights, AutoencoderWeights(a.AutoencoderConfig))
	if err != nil {
		return err
	}
	for name, t := range file {
		values, err := tensors.CopyFlatData[float32](t)
		if err != nil {
			return err
		}
		rounded := make([]float16.Float16, len(values))
		for i, v := range values {
			if rounded[i], err = half.Round(v); err != nil {
				return fmt.Errorf("weight %q: %w", name, err)
			}
		}
		file[name] = tensors.FromFlatDataAndDimensions(rounded, t.Shape().Dimensions...)
	}
	levels := len(a.Channels)
	config, err := json.MarshalIndent(diffusersAutoencoder{
		Class: "AutoencoderKL", Activation: "silu", Channels: a.Channels,
		Down: slices.Repeat([]string{"DownEncoderBlock2D"}, levels), Up: slices.Repeat([]string{"UpDecoderBlock2D"}, levels),
		Images: a.Images, Out: a.Images, Latents: a.Latents, Blocks: a.Blocks, Groups: a.Groups, Scale: a.Scale,
		Shift: a.Shift, Size: side, QuantConv: true, PostQuant: true, MiddleBlock: true,
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	metadata := maps.Clone(origin)
	if metadata == nil {
		metadata = make(map[string]string)
	}
	metadata["format"] = "pt" // diffusers requires it
	if err := checkpoint.WriteWeights(filepath.Join(dir, diffusersFile), file, metadata); err != nil {
		return err
	}
	// Last, since a folder without it is no autoencoder yet, and whole at once.
	path := filepath.Join(dir, diffusersConfig)
	if err := os.WriteFile(path+".part", append(config, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

package pretrained

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/nn/clip"
	"github.com/gomfm/gomfm/mfm/pretrained/internal/clipconfig"
)

// Names that only one of the two conventions of CLIP's weights has.
const (
	transformersCLIPAnchor = "vision_model.embeddings.class_embedding"
	openCLIPAnchor         = "visual.class_embedding"
)

// CLIPWeights returns the weights of the networks of package clip in the names of OpenCLIP, which
// OpenAI's code and HPSv2 share.
func CLIPWeights(c clip.Config) []Weight {
	l := list{}
	l.add("logit_scale", "logit_scale", Same)
	l.add(openCLIPAnchor, "image/class", Same, c.Image.Width)
	l.add("visual.positional_embedding", "image/positions", Same, c.Image.Positions(), c.Image.Width)
	l.add("visual.conv1.weight", "image/patches/weights", PatchEmbedding, c.Image.Width, 3, c.Image.Patch, c.Image.Patch)
	l.norm("visual.ln_pre", "image/input_norm", c.Image.Width)
	l.norm("visual.ln_post", "image/output_norm", c.Image.Width)
	l.add("visual.proj", "image/projection/weights", Same, c.Image.Width, c.Embedding)
	l.add("token_embedding.weight", "text/tokens/weights", Same, c.Text.Vocabulary, c.Text.Width)
	l.add("positional_embedding", "text/positions", Same, c.Text.Tokens, c.Text.Width)
	l.norm("ln_final", "text/output_norm", c.Text.Width)
	l.add("text_projection", "text/projection/weights", Same, c.Text.Width, c.Embedding)
	names := clipBlock{
		"ln_1", "attn.in_proj_weight", "attn.in_proj_bias", "attn.out_proj", "ln_2", "mlp.c_fc", "mlp.c_proj",
	}
	l.clipBlocks("visual.transformer.resblocks", "image", names, c.Image.Transformer)
	l.clipBlocks("transformer.resblocks", "text", names, c.Text.Transformer)
	return l
}

// transformersCLIPWeights returns the weights in the names of transformers' CLIPModel, after
// fuseProjections.
func transformersCLIPWeights(c clip.Config) []Weight {
	l := list{}
	l.add("logit_scale", "logit_scale", Same)
	const image, text = "vision_model.", "text_model."
	l.add(transformersCLIPAnchor, "image/class", Same, c.Image.Width)
	l.add(image+"embeddings.position_embedding.weight", "image/positions", Same, c.Image.Positions(), c.Image.Width)
	l.add(image+"embeddings.patch_embedding.weight", "image/patches/weights", PatchEmbedding, c.Image.Width, 3,
		c.Image.Patch, c.Image.Patch)
	l.norm(image+"pre_layrnorm", "image/input_norm", c.Image.Width) // as it is spelled there
	l.norm(image+"post_layernorm", "image/output_norm", c.Image.Width)
	l.add("visual_projection.weight", "image/projection/weights", Linear, c.Embedding, c.Image.Width)
	l.add(text+"embeddings.token_embedding.weight", "text/tokens/weights", Same, c.Text.Vocabulary, c.Text.Width)
	l.add(text+"embeddings.position_embedding.weight", "text/positions", Same, c.Text.Tokens, c.Text.Width)
	l.norm(text+"final_layer_norm", "text/output_norm", c.Text.Width)
	l.add("text_projection.weight", "text/projection/weights", Linear, c.Embedding, c.Text.Width)
	names := clipBlock{
		"layer_norm1", "self_attn" + fused + ".weight", "self_attn" + fused + ".bias", "self_attn.out_proj", "layer_norm2",
		"mlp.fc1", "mlp.fc2",
	}
	l.clipBlocks(image+"encoder.layers", "image", names, c.Image.Transformer)
	l.clipBlocks(text+"encoder.layers", "text", names, c.Text.Transformer)
	return l
}

// clipBlock has the names of the parts of a block.
type clipBlock struct{ attentionNorm, qkvWeights, qkvBiases, out, hiddenNorm, hidden, output string }

// clipBlocks adds the weights of the blocks of a transformer.
func (l *list) clipBlocks(file, path string, names clipBlock, t clip.Transformer) {
	for i := range t.Depth {
		file, path := fmt.Sprintf("%s.%d.", file, i), fmt.Sprintf("%s/block_%d/", path, i)
		l.norm(file+names.attentionNorm, path+"attention_norm", t.Width)
		l.add(file+names.qkvWeights, path+"attention/qkv/weights", Linear, 3*t.Width, t.Width)
		l.add(file+names.qkvBiases, path+"attention/qkv/biases", Same, 3*t.Width)
		l.linear(file+names.out, path+"attention/out", t.Width, t.Width)
		l.norm(file+names.hiddenNorm, path+"hidden_norm", t.Width)
		l.linear(file+names.hidden, path+"hidden", t.Width, t.Hidden)
		l.linear(file+names.output, path+"output", t.Hidden, t.Width)
	}
}

// ImportCLIP is [Import] for the networks of package clip, in the names of OpenCLIP ([CLIPWeights])
// or of transformers' CLIPModel. Fixed buffers, the mask and the numbers of positions, are left
// out. It frees the tensors that it has read.
func ImportCLIP(from checkpoint.Tensors, c clip.Config) (checkpoint.Tensors, error) {
	rest := maps.Clone(from)
	for name := range from {
		if name == "attn_mask" || strings.HasSuffix(name, ".position_ids") {
			delete(rest, name)
		}
	}
	if from[transformersCLIPAnchor] == nil {
		return imported(rest, CLIPWeights(c), true)
	}
	if err := fuseProjections(rest); err != nil {
		return nil, err
	}
	return imported(rest, transformersCLIPWeights(c), true)
}

// fused is what the name of the projection to queries, keys and values has in the place of those of
// the three, of which it is the concatenation.
const fused = ".{q,k,v}_proj"

// fuseProjections replaces the projections to queries, keys and values by their concatenation, and
// frees them.
func fuseProjections(all checkpoint.Tensors) error {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		before, after, found := strings.Cut(name, ".q_proj.")
		if !found {
			continue
		}
		var flat []float32
		var dims []int
		for _, part := range []string{"q", "k", "v"} {
			name := before + "." + part + "_proj." + after
			t := all[name]
			if t == nil {
				return fmt.Errorf("tensor %q is missing", name)
			}
			if dims != nil && !slices.Equal(t.Shape().Dimensions, dims) {
				return fmt.Errorf("tensor %q is %v, that of the queries %v", name, t.Shape().Dimensions, dims)
			}
			dims = slices.Clone(t.Shape().Dimensions)
			err := withFloat32s(t, func(values []float32) { flat = append(flat, values...) })
			if err == nil {
				err = t.FinalizeAll()
			}
			if err != nil {
				return fmt.Errorf("tensor %q: %w", name, err)
			}
			delete(all, name)
		}
		if len(dims) == 0 {
			return fmt.Errorf("tensor %q is a number, want a matrix or a vector", name)
		}
		dims[0] *= 3
		joined := tensors.FromShape(shapes.Make(dtypes.Float32, dims...))
		tensors.MustMutableFlatData(joined, func(to []float32) { copy(to, flat) })
		all[before+fused+"."+after] = joined
	}
	return nil
}

// clipForm is a form of folders with a network of CLIP: the name of its configuration, which read
// reads, and those of the weights in the order in which they are tried.
type clipForm struct {
	config  string
	read    func(raw []byte) (clip.Config, error)
	weights []string
}

func clipForms() []clipForm {
	return []clipForm{
		{"open_clip_config.json", clipconfig.OpenCLIPFile, []string{
			"open_clip_model.safetensors", "model.safetensors", "open_clip_pytorch_model.bin", "HPS_v2.1_compressed.pt",
			"HPS_v2_compressed.pt",
		}},
		{"config.json", clipconfig.TransformersFile, []string{
			"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
		}},
	}
}

// OpenCLIP reads the networks of CLIP from a folder, in the form of OpenCLIP on the Hugging Face
// Hub, open_clip_config.json and open_clip_model.safetensors or open_clip_pytorch_model.bin, or in
// that of transformers' CLIPModel, config.json and model.safetensors or pytorch_model.bin. From a
// file alone, such as HPS_v2.1_compressed.pt, it reads ViT-H/14 ([clip.ViTH14]): the file of
// another network does not state its activation. The weights have their paths below the networks'
// scope.
func OpenCLIP(path string) (clip.Config, checkpoint.Tensors, error) {
	c, file := clip.ViTH14(), path
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		c, file, err = clipFolder(path, "")
	}
	return openCLIP(c, file, err)
}

// CLIPFile returns the file of weights that [OpenCLIP] reads: the path itself, or the one in a
// folder, which is the index of a sharded file.
func CLIPFile(path string) (string, error) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return path, err
	}
	_, file, err := clipFolder(path, "")
	if err != nil {
		return "", fmt.Errorf("CLIP: %w", err)
	}
	return file, nil
}

// TransformersCLIP reports whether a path is a folder in the form of transformers, which prepares
// images and texts otherwise than OpenCLIP.
func TransformersCLIP(path string) bool {
	if _, err := os.Stat(filepath.Join(path, "open_clip_config.json")); err == nil {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// HasCLIP reports whether a file has the networks of CLIP, by the name of a tensor.
func HasCLIP(from checkpoint.Tensors) bool {
	return len(Copies(from, openCLIPAnchor))+len(Copies(from, transformersCLIPAnchor)) > 0
}

// OpenCLIPFile is [OpenCLIP] for the file of the given name in a folder, whatever other weights the
// folder has. Without a configuration there, the network is that of a file alone.
func OpenCLIPFile(dir, name string) (clip.Config, checkpoint.Tensors, error) {
	c, file, err := clipFolder(dir, name)
	if errors.Is(err, errNoCLIPConfig) {
		c, file, err = clip.ViTH14(), filepath.Join(dir, name), nil
	}
	return openCLIP(c, file, err)
}

// openCLIP reads the networks of a configuration in a file, unless err says why there is none.
func openCLIP(c clip.Config, file string, err error) (clip.Config, checkpoint.Tensors, error) {
	if err != nil {
		return c, nil, fmt.Errorf("CLIP: %w", err)
	}
	from, _, err := Open(file)
	if err == nil {
		anchor := openCLIPAnchor
		if len(Copies(from, anchor)) == 0 {
			anchor = transformersCLIPAnchor
		}
		from, _, err = Choose(from, anchor, "")
	}
	var weights checkpoint.Tensors
	if err == nil {
		weights, err = ImportCLIP(from, c)
	}
	if err == nil {
		err = checkFinite(weights)
	}
	if err != nil {
		return c, nil, fmt.Errorf("CLIP %s: %w", file, err)
	}
	return c, weights, nil
}

// errNoCLIPConfig says that a folder has no configuration.
var errNoCLIPConfig = errors.New("neither open_clip_config.json nor config.json")

// clipFolder returns the configuration in a folder, and the path of the weights there: those of a
// name, or the first of the form's if it is empty.
func clipFolder(dir, only string) (c clip.Config, file string, err error) {
	for _, form := range clipForms() {
		config := filepath.Join(dir, form.config)
		raw, err := readConfig(config)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			c, err = form.read(raw)
		}
		if err != nil {
			return c, "", fmt.Errorf("%s: %w", config, err)
		}
		names := form.weights
		if only != "" {
			names = []string{only}
		}
		for _, name := range names {
			file := filepath.Join(dir, name)
			if _, err := os.Stat(file); err == nil {
				return c, file, nil
			}
		}
		return c, "", fmt.Errorf("%s has none of the weights %v", dir, names)
	}
	return c, "", fmt.Errorf("%s has %w", dir, errNoCLIPConfig)
}

package pretrained_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/float16"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/train"
)

// elements returns the number of elements of a list of weights.
func elements(list []pretrained.Weight) int {
	total := 0
	for _, w := range list {
		size := 1
		for _, n := range w.Shape {
			size *= n
		}
		total += size
	}
	return total
}

// The released files have 248 tensors of 83,653,863 elements (sd-vae-ft-mse) and, with the
// positions of 256 tokens, 675,129,632 elements (SiT-XL/2).
func TestSizesOfReleases(t *testing.T) {
	list := pretrained.AutoencoderWeights(nn.StableDiffusionAutoencoder())
	if n := elements(list); len(list) != 248 || n != 83_653_863 {
		t.Errorf("the autoencoder has %d tensors, %d elements", len(list), n)
	}
	c := nn.DiTSizes()["XL/2"]
	c.Classes = 1000
	if n := elements(pretrained.SiTWeights(c, 4, 8)) + 256*c.Width; n != 675_129_632 {
		t.Errorf("SiT-XL/2 has %d elements", n)
	}
}

// emptyOf returns tensors of float16, which take little memory, with the names and shapes of a
// list.
func emptyOf(list []pretrained.Weight) checkpoint.Tensors {
	all := make(checkpoint.Tensors, len(list))
	for _, w := range list {
		all[w.File] = tensors.FromShape(shapes.Make(dtypes.Float16, w.Shape...))
	}
	return all
}

func TestDetectDiT(t *testing.T) {
	size := nn.DiTSizes()["S/2"]
	size.Classes = 10
	small := nn.DiTConfig{Patch: 4, Width: 8, Depth: 3, Encoder: 2, Heads: 2, QKNorm: true, BlindAtZero: true}
	reversed := small
	reversed.Reversed = true
	meta := size
	meta.Reversed, meta.BlindAtZero = true, false
	rms := small
	rms.QKNormRMS, rms.Reversed, rms.BlindAtZero = true, true, false
	joint := rms
	joint.JointAttention = true
	// shape returns the tensors that tell the shape of a network.
	shape := func(list []pretrained.Weight) checkpoint.Tensors {
		return emptyOf(slices.DeleteFunc(list, func(w pretrained.Weight) bool {
			return !strings.Contains(w.File, "qkv.weight") && !strings.Contains(w.File, "embedder.proj") && w.File[0] != 'y'
		}))
	}
	ofDMF := emptyOf(pretrained.SiTWeights(reversed, 1, 1))
	ofDMF["logvar_linear.bias"] = tensors.FromValue([]float32{0})
	for name, c := range map[string]struct {
		from     checkpoint.Tensors
		want     nn.DiTConfig
		channels int
	}{
		"SiT":          {shape(pretrained.SiTWeights(size, 4, 8)), size, 4},
		"another size": {emptyOf(pretrained.SiTWeights(small, 1, 1)), small, 1},
		"DMF":          {ofDMF, reversed, 1},
		"MFM":          {shape(pretrained.DiTWeights(meta, 4)), meta, 4},
		"RMS":          {emptyOf(pretrained.DiTWeights(rms, 4)), rms, 4},
		"joint RMS":    {emptyOf(pretrained.DiTWeights(joint, 4)), joint, 4},
	} {
		got, channels, err := pretrained.DetectDiT(c.from)
		if err != nil || channels != c.channels || !slices.Equal(got.Guidance, c.want.Guidance) {
			t.Errorf("%s: %d channels, %v", name, channels, err)
		}
		got.Guidance, c.want.Guidance = nil, nil
		if a, b := pretrained.DiTWeights(got, 1), pretrained.DiTWeights(c.want, 1); len(a) != len(b) ||
			got.Heads != c.want.Heads || got.Encoder != c.want.Encoder || got.Patch != c.want.Patch || got.Width != c.want.Width ||
			got.QKNorm != c.want.QKNorm || got.QKNormRMS != c.want.QKNormRMS || got.Classes != c.want.Classes || got.Reversed != c.want.Reversed || got.BlindAtZero != c.want.BlindAtZero {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	for message, change := range map[string]func(checkpoint.Tensors){
		`"x_embedder.proj.weight" is missing`:   func(all checkpoint.Tensors) { delete(all, "x_embedder.proj.weight") },
		`"blocks.0.attn.qkv.weight" is missing`: func(all checkpoint.Tensors) { delete(all, "blocks.0.attn.qkv.weight") },
		"want [width, channels, patch, patch]":  func(all checkpoint.Tensors) { all["x_embedder.proj.weight"] = tensors.FromValue(float32(1)) },
		"is [8 0 4 4], want [width, channels, pa": func(all checkpoint.Tensors) {
			all["x_embedder.proj.weight"] = tensors.FromShape(shapes.Make(dtypes.Float32, 8, 0, 4, 4))
		},
	} {
		all := emptyOf(pretrained.SiTWeights(small, 1, 1))
		change(all)
		if _, _, err := pretrained.DetectDiT(all); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("error %v, want %s", err, message)
		}
	}
}

// set returns a function that changes the configuration of a converted transformer.
func set(change func(c *nn.DiTConfig)) func(any) error {
	return func(c any) error { change(c.(*nn.DiTConfig)); return nil }
}

func keep(any) error { return nil }

// A converted SiT is written and read as a network of this package, whose map has the SiT's
// velocity as its drift.
func TestConvertSiT(t *testing.T) {
	path := filepath.Join("testdata", "sit.safetensors")
	all, _, err := pretrained.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	converted, err := pretrained.Convert(all, pretrained.DiTKind, "", set(func(c *nn.DiTConfig) { c.Heads, c.BlindAtZero = 2, false }))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "sit.safetensors")
	if err := converted.Write(file, map[string]string{"command": "c"}); err != nil {
		t.Fatal(err)
	}
	read, err := pretrained.ReadConverted(file)
	if err != nil {
		t.Fatal(err)
	}
	network := read.Config.(nn.DiTConfig)
	if read.Channels != 3 || network.Width != 16 || network.Heads != 2 || network.BlindAtZero || network.Reversed || converted.Prefix != "weight." {
		t.Errorf("read %+v of %d channels, prefix %q", network, read.Channels, converted.Prefix)
	}
	store := model.NewStore()
	if err := train.SetWeights(store, read.Weights); err != nil {
		t.Fatal(err)
	}
	m := mfm.Map{Interpolant: interpolant.Linear{}, Backbone: network.Backbone(), Parametrization: mfm.Plain{}}
	reference, err := pretrained.ReadReference(path)
	if err != nil {
		t.Fatal(err)
	}
	drift := func(scope *model.Scope, x []*Node) []*Node {
		v := m.Drift(scope.Store().Scope(train.WeightsScope), x[0], TransposeAllAxes(x[1], 0, 2, 3, 1), x[2])
		return []*Node{TransposeAllAxes(v, 0, 3, 1, 2)}
	}
	exec, err := model.NewExec(backendtest.New(t), store, drift)
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	got, err := exec.Call(reference.In["s"], reference.In["x"], reference.In["class"])
	if err != nil {
		t.Fatal(err)
	}
	ours, original := tensors.MustCopyFlatData[float32](got[0]), tensors.MustCopyFlatData[float32](reference.Out["v"])
	var difference, norm float64
	for i, v := range original {
		difference += math.Pow(float64(ours[i]-v), 2)
		norm += float64(v) * float64(v)
	}
	if e := math.Sqrt(difference / norm); !(e <= 1e-4) || norm == 0 {
		t.Errorf("relative error %.3g of the drift", e)
	}
}

// Each network is that of its names, old or new, of one file or of two.
func TestConvertAutoencoders(t *testing.T) {
	all, _, err := pretrained.Open(filepath.Join("testdata", "autoencoder.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	configure := func(c any) error {
		*c.(*nn.AutoencoderConfig) = nn.AutoencoderConfig{Images: 3, Latents: 2, Channels: []int{4, 8}, Blocks: 1, Groups: 2, Scale: 1}
		return nil
	}
	want, err := pretrained.Convert(all, pretrained.AutoencoderKind, "weight", configure)
	if err != nil {
		t.Fatal(err)
	}
	if freed := all["weight.encoder.conv_in.weight"]; freed.CheckValid() == nil {
		t.Error("the tensors of the file are still in memory")
	}
	if all, _, err = pretrained.Open(filepath.Join("testdata", "autoencoder.safetensors")); err != nil {
		t.Fatal(err)
	}
	old := make(checkpoint.Tensors)
	for name, v := range pretrained.Below(all, "weight.") {
		old[strings.NewReplacer("to_q", "query", "to_k", "key", "to_v", "value", "to_out.0", "proj_attn").Replace(name)] = v
	}
	got, err := pretrained.Convert(old, pretrained.AutoencoderKind, "", configure)
	if err != nil || !equal(got.Weights, want.Weights) {
		t.Errorf("old names: %v", err)
	}
	file := filepath.Join(t.TempDir(), "a.safetensors")
	if err := want.Write(file, nil); err != nil {
		t.Fatal(err)
	}
	if read, err := pretrained.ReadConverted(file); err != nil || !equal(read.Weights, want.Weights) {
		t.Errorf("read back: %v", err)
	}
	if read, err := pretrained.OpenNetwork(file, pretrained.AutoencoderKind, "", keep); err != nil || !equal(read.Weights, want.Weights) {
		t.Errorf("opened: %v", err)
	}
	if _, err := pretrained.OpenNetwork(file, pretrained.DiTKind, "", keep); err == nil || !strings.Contains(err.Error(), `kind "autoencoder", want dit`) {
		t.Errorf("opened as another kind: %v", err)
	}
	old["encoder.mid_block.attentions.0.to_q.weight"] = old["encoder.mid_block.attentions.0.query.weight"]
	if _, err := pretrained.Convert(old, pretrained.AutoencoderKind, "", configure); err == nil || !strings.Contains(err.Error(), "occurs twice") {
		t.Errorf("a layer with both names: %v", err)
	}

	a := nn.TinyAutoencoder{Images: 3, Latents: 4, MiddleNorm: true, Checkpoint: true}
	parts := func() (encoder, decoder checkpoint.Tensors) {
		encoder, decoder = emptyOf(pretrained.TinyEncoderWeights(a)), emptyOf(pretrained.TinyDecoderWeights(a))
		tensors.MustMutableFlatData(decoder["1.bias"], func(flat []float16.Float16) { flat[1] = float16.FromFloat32(1) })
		return encoder, decoder
	}
	encoder, decoder := parts()
	tiny, err := pretrained.Convert(pretrained.TinyParts(encoder, decoder), pretrained.TinyAutoencoderKind, "", keep)
	if err != nil || tiny.Config != a {
		t.Fatalf("two files: %+v, %v", tiny.Config, err)
	}
	if v := tensors.MustCopyFlatData[float32](tiny.Weights["/decoder/input/biases"])[1]; v != 1 {
		t.Errorf("the decoder's first bias is %g, want 1", v)
	}
	encoder, decoder = parts()
	single := make(checkpoint.Tensors)
	for name, v := range encoder {
		single["encoder.layers."+name] = v
	}
	for name, v := range decoder {
		single["decoder.layers."+previous(name)] = v
	}
	if other, err := pretrained.Convert(single, pretrained.TinyAutoencoderKind, "", keep); err != nil || other.Config != a || !equal(other.Weights, tiny.Weights) {
		t.Errorf("the names of diffusers: %+v, %v", other.Config, err)
	}
}

// A folder of diffusers, as it writes config.json, is read; weights in old names and in a file of
// torch.save are too, and one that is written here is read back up to the rounding to float16.
func TestOpenAutoencoder(t *testing.T) {
	all, _, err := pretrained.Open(filepath.Join("testdata", "autoencoder.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	const config = `{"_class_name": "AutoencoderKL", "_diffusers_version": "0.42.1", "act_fn": "silu",
		"block_out_channels": [4, 8], "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
		"force_upcast": true, "in_channels": 3, "latent_channels": 2, "latents_mean": null, "layers_per_block": 1,
		"mid_block_add_attention": true, "norm_num_groups": 2, "out_channels": 3, "sample_size": 16,
		"scaling_factor": 0.5, "shift_factor": null, "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
		"use_post_quant_conv": true, "use_quant_conv": true}`
	dir, file := t.TempDir(), pretrained.Below(all, "weight.")
	write := func(config string, weights checkpoint.Tensors) {
		err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o666)
		if err == nil {
			err = checkpoint.WriteWeights(filepath.Join(dir, "diffusion_pytorch_model.safetensors"), weights, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write(config, file)
	a, weights, err := pretrained.OpenAutoencoder(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := nn.AutoencoderConfig{Images: 3, Latents: 2, Channels: []int{4, 8}, Blocks: 1, Groups: 2, Scale: 0.5, Checkpoint: true}
	if fmt.Sprint(a.AutoencoderConfig) != fmt.Sprint(want) {
		t.Errorf("configuration %+v, want %+v", a.AutoencoderConfig, want)
	}
	again := filepath.Join(dir, "again")
	a.Shift = 0.25
	if err := pretrained.WriteAutoencoder(again, a, weights, 16, map[string]string{"command": "c"}); err != nil {
		t.Fatal(err)
	}
	b, rounded, err := pretrained.OpenAutoencoder(again)
	if err != nil || b.Scale != 0.5 || b.Shift != 0.25 {
		t.Fatalf("written and read: %+v, %v", b, err)
	}
	for path, w := range weights {
		exact, half := tensors.MustCopyFlatData[float32](w), tensors.MustCopyFlatData[float32](rounded[path])
		for i, v := range exact {
			if d := math.Abs(float64(half[i] - v)); d > math.Abs(float64(v))/1024+1e-7 {
				t.Fatalf("weight %s[%d] is %g, was %g", path, i, half[i], v)
			}
		}
	}
	for name, change := range map[string][2]string{
		"class":      {`"AutoencoderKL"`, `"VQModel"`},
		"levels":     {`["UpDecoderBlock2D", "UpDecoderBlock2D"]`, `["UpDecoderBlock2D"]`},
		"activation": {`"silu"`, `"relu"`},
		"blocks":     {`"DownEncoderBlock2D", "Down`, `"AttnDownEncoderBlock2D", "Down`},
		"no quant":   {`"use_quant_conv": true`, `"use_quant_conv": false`},
		"channels":   {`[4, 8]`, `[4, 9]`},
		"layers":     {`"layers_per_block": 1`, `"layers_per_block": 2`},
		"size":       {`"latent_channels": 2`, `"latent_channels": 1e400`},
	} {
		write(strings.Replace(config, change[0], change[1], 1), file)
		if _, _, err := pretrained.OpenAutoencoder(dir); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error %v, want one that names the folder", name, err)
		}
	}
	if _, _, err := pretrained.OpenAutoencoder(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestConvertErrors(t *testing.T) {
	open := func() checkpoint.Tensors {
		all, _, err := pretrained.Open(filepath.Join("testdata", "dmf.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return pretrained.Below(all, "weight.")
	}
	heads := set(func(c *nn.DiTConfig) { c.Heads = 2 })
	for name, c := range map[string]struct {
		change    func(checkpoint.Tensors)
		configure func(any) error
		messages  []string
	}{
		"missing, misshapen, unexpected": {func(all checkpoint.Tensors) {
			delete(all, "t_embedder.mlp.0.bias")
			delete(all, "blocks.1.mlp.fc1.bias")
			all["blocks.0.attn.proj.bias"] = all["blocks.0.mlp.fc1.bias"]
			all["s_embedder.mlp.0.bias"] = all["blocks.0.attn.proj.bias"]
		}, heads, []string{`"t_embedder.mlp.0.bias" [16] is missing`, `"blocks.1.mlp.fc1.bias" [64] is missing`,
			`"blocks.0.attn.proj.bias" is [64], want [16]`, `"s_embedder.mlp.0.bias" [64] is unexpected`}},
		"no heads":      {func(checkpoint.Tensors) {}, keep, []string{"number of heads", "width 16 and depth 2"}},
		"invalid heads": {func(checkpoint.Tensors) {}, set(func(c *nn.DiTConfig) { c.Heads = 3 }), []string{"3 heads do not divide"}},
		"NaN": {func(all checkpoint.Tensors) {
			tensors.MustMutableFlatData(all["blocks.0.mlp.fc2.bias"], func(flat []float32) { flat[3] = float32(math.NaN()) })
		}, heads, []string{`variable "block_0/output/biases" is NaN at element 3`}},
		"positions": {func(all checkpoint.Tensors) { all["pos_embed"] = tensors.FromShape(all["pos_embed"].Shape()) }, heads,
			[]string{`"pos_embed": token 0 has`}},
		"guidance scales": {func(checkpoint.Tensors) {}, set(func(c *nn.DiTConfig) { c.Heads, c.Encoder, c.Guidance = 2, 0, []float64{2} }),
			[]string{"guidance scales condition the encoder"}},
	} {
		all := open()
		c.change(all)
		_, err := pretrained.Convert(all, pretrained.DiTKind, "", c.configure)
		for _, message := range c.messages {
			if err == nil || !strings.Contains(err.Error(), message) {
				t.Errorf("%s: error %v, want %s", name, err, message)
			}
		}
	}
	if _, err := pretrained.Convert(open(), "unet", "", keep); err == nil || !strings.Contains(err.Error(), "[dit autoencoder tiny-autoencoder]") {
		t.Errorf("another kind: %v", err)
	}
}

// A file of a converted network is refused if its metadata or its tensors are others.
func TestReadConvertedErrors(t *testing.T) {
	a := nn.TinyAutoencoder{Images: 3, Latents: 4}
	tiny, err := pretrained.Convert(pretrained.TinyParts(emptyOf(pretrained.TinyEncoderWeights(a)), emptyOf(pretrained.TinyDecoderWeights(a))),
		pretrained.TinyAutoencoderKind, "", keep)
	if err != nil {
		t.Fatal(err)
	}
	const path = "/decoder/input/biases"
	metadata := map[string]string{"kind": "tiny-autoencoder", "config": `{"images": 3, "latents": 4}`, "channels": "0"}
	for message, change := range map[string]func(checkpoint.Tensors, map[string]string){
		`"/decoder/input/biases" [64] is missing`: func(w checkpoint.Tensors, _ map[string]string) { delete(w, path) },
		`"/x" is superfluous`:                     func(w checkpoint.Tensors, _ map[string]string) { w["/x"] = w[path] },
		"want [64] of float32":                    func(w checkpoint.Tensors, _ map[string]string) { w[path] = tensors.FromValue([]float32{1}) },
		"kind \"\", want one of":                  func(_ checkpoint.Tensors, m map[string]string) { delete(m, "kind") },
		"images and latents must be positive":     func(_ checkpoint.Tensors, m map[string]string) { m["config"] = "{}" },
		"depth must be positive": func(_ checkpoint.Tensors, m map[string]string) {
			m["kind"], m["config"] = "dit", `{"patch": 1, "width": 4}`
		},
		"blocks must be at most": func(_ checkpoint.Tensors, m map[string]string) {
			m["kind"], m["config"] = "autoencoder", `{"images": 3, "latents": 4, "channels": [8], "blocks": 1000000000, "groups": 8, "scale": 1}`
		},
		`metadata "channels" is "0"`: func(_ checkpoint.Tensors, m map[string]string) {
			m["kind"], m["config"] = "dit", `{"patch": 1, "width": 4, "depth": 1, "heads": 1}`
		},
		`metadata "config"`: func(_ checkpoint.Tensors, m map[string]string) { m["config"] = `{"imges": 3}` },
	} {
		weights, m := maps.Clone(tiny.Weights), maps.Clone(metadata)
		change(weights, m)
		file := filepath.Join(t.TempDir(), "x.safetensors")
		if err := checkpoint.WriteWeights(file, weights, m); err != nil {
			t.Fatal(err)
		}
		if _, err := pretrained.ReadConverted(file); err == nil || !strings.Contains(err.Error(), message) || !strings.Contains(err.Error(), file) {
			t.Errorf("error %v, want %s", err, message)
		}
	}
}

// previous returns a name whose first number is one less.
func previous(name string) string {
	number, rest, _ := strings.Cut(name, ".")
	n, err := strconv.Atoi(number)
	if err != nil {
		panic(err)
	}
	return strconv.Itoa(n-1) + "." + rest
}

func equal(a, b checkpoint.Tensors) bool {
	return maps.EqualFunc(a, b, func(x, y *tensors.Tensor) bool { return x.Equal(y) })
}

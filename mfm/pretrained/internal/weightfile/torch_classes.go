package weightfile

import (
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/gomlx/compute/dtypes"

	"github.com/gomfm/gomfm/mfm/pretrained/internal/pickle"
)

// storageTypes are the classes of PyTorch's storages.
var storageTypes = map[string]dtypes.DType{
	"DoubleStorage": dtypes.Float64, "FloatStorage": dtypes.Float32, "HalfStorage": dtypes.Float16,
	"BFloat16Storage": dtypes.BFloat16, "LongStorage": dtypes.Int64, "IntStorage": dtypes.Int32,
	"ShortStorage": dtypes.Int16, "CharStorage": dtypes.Int8, "ByteStorage": dtypes.Uint8,
	"BoolStorage": dtypes.Bool,
}

// refuse allows no class.
func refuse(module, name string) (pickle.Class, error) {
	return nil, fmt.Errorf("the file calls %.60s.%.60s, which does not build tensors or plain containers: it is refused",
		module, name)
}

// harmful are modules and functions that no file of weights needs.
var harmful = map[string]bool{
	"os": true, "posix": true, "nt": true, "subprocess": true, "sys": true, "socket": true, "shutil": true, "pty": true,
	"runpy": true, "importlib": true, "code": true, "ctypes": true, "multiprocessing": true, "webbrowser": true,
	"builtins.eval": true, "builtins.exec": true, "builtins.compile": true, "builtins.open": true,
	"builtins.__import__": true, "builtins.breakpoint": true, "builtins.input": true,
}

// isHarmful reports whether a name is in a harmful module, or a harmful function.
func isHarmful(module, name string) bool {
	if module == "__builtin__" {
		module = "builtins"
	}
	top, _, _ := strings.Cut(module, ".")
	return harmful[top] || harmful[module+"."+name]
}

// environment returns what a file of PyTorch may refer to.
func (f *torchFile) environment() pickle.Environment {
	return pickle.Environment{Class: f.class, Persistent: f.persistent}
}

// class returns the class or function of a name that builds tensors or plain containers. Results of
// other classes, which checkpoints of training have beside the weights, are values without content:
// nothing is run. A file that names a function that no weights need is refused.
func (f *torchFile) class(module, name string) (pickle.Class, error) {
	full := module + "." + name
	switch full {
	case "collections.OrderedDict", "builtins.dict", "__builtin__.dict", "collections.defaultdict":
		return dictionary, nil
	case "builtins.list", "__builtin__.list", "builtins.set", "__builtin__.set", "torch.Size", "builtins.tuple":
		return func(args []any) (any, error) {
			if len(args) == 1 {
				return args[0], nil
			}
			return &pickle.List{}, nil
		}, nil
	case "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor":
		return rebuildTensor, nil
	case "torch._tensor._rebuild_from_type_v2": // a function, a class, the function's arguments, and a state
		return func(args []any) (any, error) {
			if len(args) < 3 {
				return nil, errors.New("a tensor of another type without arguments")
			}
			rebuild, ok := args[0].(pickle.Class)
			inner, isTuple := args[2].(pickle.Tuple)
			if !ok || !isTuple {
				return nil, errors.New("a tensor of another type whose function or arguments are of another type")
			}
			return rebuild(inner)
		}, nil
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
		return func(args []any) (any, error) {
			if len(args) < 1 {
				return nil, errors.New("a parameter without a tensor")
			}
			return args[0], nil
		}, nil
	}
	if dtype, ok := storageTypes[name]; ok && (module == "torch" || module == "torch.cuda") {
		return storageClass(dtype), nil
	}
	if isHarmful(module, name) || strings.HasPrefix(full, "torch._utils._rebuild") {
		return refuse(module, name)
	}
	value := &pickle.Inert{Name: full}
	if f.inert == nil {
		f.inert = value
	}
	return func([]any) (any, error) { return value, nil }, nil
}

// storageClass returns a class that stands for an element type. It cannot be called.
func storageClass(dtype dtypes.DType) pickle.Class {
	return func(args []any) (any, error) {
		if len(args) == 1 {
			if to, ok := args[0].(*dtypes.DType); ok {
				*to = dtype
				return nil, nil
			}
		}
		return nil, errors.New("the pickle calls the class of a storage")
	}
}

// dictionary is OrderedDict, which may be called with a list of pairs, and dict.
func dictionary(args []any) (any, error) {
	d := &pickle.Dict{}
	for _, arg := range args {
		list, ok := arg.(*pickle.List)
		if !ok {
			continue // a default factory
		}
		for _, item := range list.Items {
			pair, ok := item.(pickle.Tuple)
			if items, isList := item.(*pickle.List); isList {
				pair, ok = items.Items, true
			}
			if !ok || len(pair) != 2 {
				return nil, errors.New("an OrderedDict of items that are not pairs")
			}
			d.Set(pair[0], pair[1])
		}
	}
	return d, nil
}

// persistent returns the storage that a tuple ("storage", class, key, device, elements, ...) stands
// for.
func (f *torchFile) persistent(id any) (any, error) {
	tuple, ok := id.(pickle.Tuple)
	if !ok || len(tuple) < 5 || tuple[0] != "storage" {
		return nil, errors.New("a reference to something else than a storage")
	}
	class, isClass := tuple[1].(pickle.Class)
	key, isKey := tuple[2].(string)
	length, isLength := tuple[4].(int64)
	if !isClass || !isKey || !isLength {
		return nil, errors.New("a reference to a storage without class, key or length")
	}
	if len(tuple) > 5 && tuple[5] != nil {
		return nil, errors.New("a storage that is a view of another: save it with a newer PyTorch")
	}
	var dtype dtypes.DType
	switch value, err := class([]any{&dtype}); {
	case err != nil:
		return nil, err
	case value != nil:
		return nil, fmt.Errorf("storage %.40q has elements of an unknown type", key)
	}
	if length < 0 || length > f.size/int64(dtype.Size()) {
		return nil, fmt.Errorf("storage %.40q of %d elements is larger than the file", key, length)
	}
	s := f.storages[key]
	if s == nil {
		s = &storage{dtype, length, key}
		f.storages[key] = s
	}
	if s.dtype != dtype || s.length != length {
		return nil, fmt.Errorf("storage %.40q has two types or lengths", key)
	}
	return s, nil
}

// rebuildTensor is PyTorch's function of storage, offset, size and steps.
func rebuildTensor(args []any) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("a tensor with %d arguments, want storage, offset, size and steps", len(args))
	}
	s, ok := args[0].(*storage)
	offset, isInt := args[1].(int64)
	size, err := integers(args[2])
	steps, err2 := integers(args[3])
	if err := errors.Join(err, err2); err != nil || !ok || !isInt {
		return nil, errors.New("a tensor whose storage, offset, size or steps are of another type")
	}
	if len(size) != len(steps) || len(size) > maxTorchRank {
		return nil, fmt.Errorf("a tensor of %d axes and %d steps", len(size), len(steps))
	}
	return &view{s, offset, size, steps}, nil
}

func integers(value any) ([]int64, error) {
	var items []any
	switch v := value.(type) {
	case pickle.Tuple:
		items = v
	case *pickle.List:
		items = v.Items
	default:
		return nil, fmt.Errorf("%T instead of a tuple", value)
	}
	result := make([]int64, len(items))
	for i, item := range items {
		switch n := item.(type) {
		case int64:
			result[i] = n
		case *big.Int:
			return nil, errors.New("a number of more than 64 bits")
		default:
			return nil, fmt.Errorf("%T instead of an integer", item)
		}
	}
	return result, nil
}

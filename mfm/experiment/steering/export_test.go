package steering

// ReadPartial reads the run in progress of a file on a device.
func ReadPartial(path, device string) (any, error) { return Watch{Path: path}.read(1, device) }

//go:build linux && cgo && !noxla

#include "pjrt.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"

typedef void *(*function)(void *args); // returns NULL or a PJRT_Error

// table is PJRT_Api.
typedef struct {
  size_t struct_size;
  void *extension;
  struct {
    size_t struct_size;
    void *extension;
    int major, minor;
  } version;
  function functions[];
} table;

// The indices of functions in the table, which no later version changes.
enum {
  error_destroy = 0,
  client_devices = 15,
  client_compile = 20,
  executable_destroy = 40,
  executable_serialize = 49,
  loaded_executable_get_executable = 51,
  executable_deserialize_and_load = 56,
};

static table *api;
static function compile;

static void *cached(void *args) { return compilecacheCompile(args); }

void *compilecache_table(const char *file) {
  void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  void *(*get)(void) = library ? (void *(*)(void))dlsym(library, "GetPjrtApi") : NULL;
  return get ? get() : NULL;
}

int compilecache_install(void *of) {
  table *t = of;
  if (api) return t == api;
  if (t->version.major != 0) return 0;
  if (t->struct_size < offsetof(table, functions) + (executable_deserialize_and_load + 1) * sizeof(function)) return 0;
  if (!t->functions[executable_serialize] || !t->functions[executable_deserialize_and_load]) return 0;
  api = t;
  compile = t->functions[client_compile];
  t->functions[client_compile] = cached;
  return 1;
}

void *compilecache_compile(pjrt_compile *args) { return compile(args); }

// call returns whether a function succeeds, and frees its error.
static int call(int index, void *args) {
  struct {
    size_t struct_size;
    void *extension, *error;
  } failure = {sizeof failure, NULL, api->functions[index](args)};
  if (failure.error) api->functions[error_destroy](&failure);
  return !failure.error;
}

size_t compilecache_devices(pjrt_compile *args) {
  struct {
    size_t struct_size;
    void *extension, *client;
    void *const *devices; // out
    size_t number;        // out
  } get = {sizeof get, NULL, args->client};
  return call(client_devices, &get) ? get.number : 0;
}

int compilecache_load(pjrt_compile *args, const char *bytes, size_t size) {
  struct {
    size_t struct_size;
    void *extension, *client;
    const char *bytes;
    size_t size;
    void *executable; // out
    const char *options;
    size_t options_size;
  } load = {sizeof load, NULL, args->client, bytes, size};
  if (!call(executable_deserialize_and_load, &load)) return 0;
  args->executable = load.executable;
  return 1;
}

char *compilecache_serialize(void *executable, size_t *size) {
  struct {
    size_t struct_size;
    void *extension, *loaded, *executable;
  } get = {sizeof get, NULL, executable};
  if (!call(loaded_executable_get_executable, &get)) return NULL;
  struct {
    size_t struct_size;
    void *extension, *executable;
    const char *bytes; // out, as all that follow
    size_t size;
    void *serialized;
    void (*destroy)(void *serialized);
  } serialize = {sizeof serialize, NULL, get.executable};
  char *copy = NULL;
  if (call(executable_serialize, &serialize)) {
    if ((copy = malloc(serialize.size))) memcpy(copy, serialize.bytes, serialize.size);
    *size = serialize.size;
    if (serialize.destroy) serialize.destroy(serialize.serialized);
  }
  struct {
    size_t struct_size;
    void *extension, *executable;
  } destroy = {sizeof destroy, NULL, get.executable};
  call(executable_destroy, &destroy);
  return copy;
}

// The part of PJRT's C interface that the cache needs. Later versions only add to the ends of its
// structs, and struct_size says how much of one its caller knows.
#ifndef COMPILECACHE_PJRT_H
#define COMPILECACHE_PJRT_H

#include <stddef.h>

typedef struct {
  size_t struct_size;
  void *extension;
  char *code;
  size_t code_size;
  const char *format;
  size_t format_size;
} pjrt_program;

// pjrt_compile is PJRT_Client_Compile_Args.
typedef struct {
  size_t struct_size;
  void *extension;
  void *client;
  const pjrt_program *program;
  const char *options;
  size_t options_size;
  void *executable; // out
} pjrt_compile;

// compilecache_table returns the table of functions of the plugin in a file, or NULL.
void *compilecache_table(const char *file);

// compilecache_install makes compilecacheCompile the PJRT_Client_Compile of a table. It returns
// zero if the table lacks a function, or another one has it.
int compilecache_install(void *table);

// compilecache_devices returns the number of the client's devices.
size_t compilecache_devices(pjrt_compile *args);

// compilecache_compile calls the plugin's own PJRT_Client_Compile, which returns NULL or an error.
void *compilecache_compile(pjrt_compile *args);

// compilecache_load makes an executable of serialized bytes. It returns zero if it cannot.
int compilecache_load(pjrt_compile *args, const char *bytes, size_t size);

// compilecache_serialize returns the bytes of an executable, which the caller frees, or NULL.
char *compilecache_serialize(void *executable, size_t *size);

#endif

// Modules are numbered in their order. By default numbers are made of names, of which one holds the path of this folder:
// the output would depend on where it is built.
module.exports = { optimization: { moduleIds: 'natural', chunkIds: 'natural' } };

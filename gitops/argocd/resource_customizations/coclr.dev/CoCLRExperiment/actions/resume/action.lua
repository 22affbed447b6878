-- Training goes on from the checkpoint.
obj.spec.suspend = false
return obj

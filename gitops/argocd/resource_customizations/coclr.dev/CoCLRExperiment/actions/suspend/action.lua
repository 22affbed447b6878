-- The running stage writes its checkpoint and gives its device back.
obj.spec.suspend = true
return obj

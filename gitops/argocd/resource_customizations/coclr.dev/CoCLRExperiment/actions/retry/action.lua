-- Any new value of the annotation starts a failed experiment again at the stage that failed.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["coclr.dev/retry"] = os.date("!%Y-%m-%dT%XZ")
return obj

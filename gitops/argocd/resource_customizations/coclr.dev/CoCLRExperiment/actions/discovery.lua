-- Which actions make sense now.
local actions = {}
local finished = false
local failed = false
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, c in ipairs(obj.status.conditions) do
    if c.type == "Succeeded" then
      if c.status == "True" then finished = true end
      if c.status == "False" then finished = true failed = true end
    end
  end
end
local suspended = obj.spec.suspend == true
actions["suspend"] = { ["disabled"] = suspended or finished, ["iconClass"] = "fa fa-fw fa-pause" }
actions["resume"] = { ["disabled"] = not suspended or finished, ["iconClass"] = "fa fa-fw fa-play" }
actions["retry"] = { ["disabled"] = not failed, ["iconClass"] = "fa fa-fw fa-redo" }
return actions

// Why this exists: CRDs and their rules decide what a user may write; the server must refuse and accept what a real one does, in its words.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster.Tests;

public sealed class CustomResourceTests : IAsyncLifetime
{
    private const string Crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    private Server _server = null!;
    private Api _api = null!;

    public async ValueTask InitializeAsync()
    {
        _server = await Server.StartAsync(new InProcessClusterOptions { RunPods = false, RunControllers = false });
        _api = _server.Api;
    }

    public async ValueTask DisposeAsync()
    {
        if (_server is not null)
        {
            await _server.DisposeAsync();
        }
    }

    [Theory]
    [
        InlineData(
            """{"type":"object","properties":{"n":{"type":"integer","maximum":3}}}""",
            """{"n":4}""",
            "spec.n: Invalid value: 4: spec.n in body should be less than or equal to 3")]
    [
        InlineData(
            """{"type":"object","properties":{"n":{"type":"integer"}}}""",
            """{"n":"x"}""",
            "spec.n: Invalid value: \"string\": spec.n in body must be of type integer: \"string\"")]
    [InlineData("""{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}""", "{}", "spec.n: Required value")]
    [
        InlineData(
            """{"type":"object","properties":{"s":{"type":"string","enum":["A","B"]}}}""",
            """{"s":"C"}""",
            "spec.s: Unsupported value: \"C\": supported values: \"A\", \"B\"")]
    [
        InlineData(
            """{"type":"object","properties":{"s":{"type":"string","maxLength":2}}}""",
            """{"s":"abc"}""",
            "spec.s: Too long: may not be more than 2 bytes")]
    [
        InlineData(
            """{"type":"object","properties":{"s":{"type":"string","pattern":"^a+$"}}}""",
            """{"s":"b"}""",
            "spec.s: Invalid value: \"b\": spec.s in body should match '^a+$'")]
    [
        InlineData(
            """{"type":"object","properties":{"l":{"type":"array","maxItems":1,"items":{"type":"string"}}}}""",
            """{"l":["a","b"]}""",
            "spec.l: Too many: 2: must have at most 1 item")]
    public async Task Object_AgainstTheSchema_IsRefusedInTheServersWords(string schema, string spec, string message)
    {
        await _api.Define((Objects.Crd(schema)));
        var answer = await _api.Post(Objects.Widgets, Objects.Widget(spec));
        Assert.Equal((422, "Widget.example.com \"a\" is invalid: " + message), (answer.Code, answer.Message));
    }

    [Theory]
    [InlineData("i", "4", "4: no good")]
    [InlineData("s", "\"n\u00f6\"", "\"n\u00f6\": no good")]
    [InlineData("f", "false", "false: no good")]
    [InlineData("l", "[1]", "no good")]
    [InlineData("o", "{}", "no good")]
    public async Task Rule_ThatRefuses_ShowsScalarsOnly(string field, string value, string expected)
    {
        var type = field switch { "i" => "integer", "s" => "string", "f" => "boolean", "l" => "array", _ => "object" };
        var property = new JsonObject
        {
            ["type"] = type, ["x-kubernetes-validations"] = new JsonArray(new JsonObject { ["rule"] = "false", ["message"] = "no good" })
        };
        if (type == "array")
        {
            property["items"] = new JsonObject { ["type"] = "integer" };
        }

        await _api.Define(
            Objects.Crd(new JsonObject { ["type"] = "object", ["properties"] = new JsonObject { [field] = property } }.ToJsonString()));
        var answer = await _api.Post(Objects.Widgets, Objects.Widget($$"""{"{{field}}":{{value}}}"""));
        Assert.Equal((422, $"Widget.example.com \"a\" is invalid: spec.{field}: Invalid value: {expected}"), (answer.Code, answer.Message));
    }

    [Fact]
    public async Task Object_OfAWrongType_IsNotCheckedByRules()
    {
        await _api.Define(
            Objects.Crd("""{"type":"object","properties":{"a":{"type":"integer"}},"x-kubernetes-validations":[{"rule":"self.a > 1"}]}"""));
        var answer = await _api.Post(Objects.Widgets, Objects.Widget("""{"a":"x"}"""));
        Assert.Equal(
            "Widget.example.com \"a\" is invalid: [spec.a: Invalid value: \"string\": spec.a in body must be of type integer: \"string\", "
                + "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing "
                    + "errors to complete validation]",
            answer.Message);
    }

    [Theory]
    [InlineData("self.a < self.b", """{"a":1,"b":2}""", """{"a":2,"b":1}""")]
    [InlineData("!has(self.s) || self.s.startsWith('x')", """{"a":1}""", """{"s":"y"}""")]
    [InlineData("has(self.a) == has(self.b)", """{"a":1,"b":1}""", """{"a":1}""")]
    [InlineData("self.l.all(x, x.size() < 3)", """{"l":["ab"]}""", """{"l":["abc"]}""")]
    [InlineData("self.l.exists(x, x == 'a') && self.l.exists_one(x, x == 'b')", """{"l":["a","b"]}""", """{"l":["a","b","b"]}""")]
    [InlineData("size(self.l.filter(x, x.matches('^[0-9]+$')).map(x, int(x))) == 1", """{"l":["a","1"]}""", """{"l":["1","2"]}""")]
    [InlineData("double(self.s) > 0.5", """{"s":"0.6"}""", """{"s":"0.4"}""")]
    [InlineData("self.a % 4 == 0", """{"a":8}""", """{"a":9}""")]
    [InlineData("duration(self.s) <= duration('1h')", """{"s":"59m"}""", """{"s":"61m"}""")]
    [
        InlineData(
            "self.s in ['x', 'y'] ? self.a == 1 : true",
            """{"s":"x","a":1}""",
            """{"s":"y1","a":1,"b":0,"l":["only the first may"]}""",
            true)]
    [InlineData("'k' in self.m && self.m['k'] == 'v'", """{"m":{"k":"v"}}""", """{"m":{"k":"w"}}""")]
    [InlineData("self.__namespace__ == 'n'", """{"namespace":"n"}""", """{"namespace":"m"}""")]
    [InlineData("self.dash__dash__ed == 1", """{"dash-ed":1}""", """{"dash-ed":2}""")]
    [InlineData("self.?s.orValue('none') == 'none'", "{}", """{"s":"x"}""")]
    public async Task Rule_DecidesAboutObjects(string rule, string good, string bad, bool both = false)
    {
        var schema = Objects.Parse("""
            {"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"},"s":{"type":"string","maxLength":20},"namespace":{"type":"string","maxLength":9},
             "dash-ed":{"type":"integer"},"l":{"type":"array","maxItems":5,"items":{"type":"string","maxLength":20}},"m":{"type":"object","maxProperties":3,"additionalProperties":{"type":"string","maxLength":5}}}}
            """);
        schema["x-kubernetes-validations"] = new JsonArray(new JsonObject { ["rule"] = rule, ["message"] = "no good" });
        await _api.Define((Objects.Crd(schema.ToJsonString())));
        await _api.Ok(_api.Post(Objects.Widgets, Objects.Widget(good, "good")));
        var answer = await _api.Post(Objects.Widgets, Objects.Widget(bad, "bad"));
        Assert.Equal(
            both ? (201, "") : (422, "Widget.example.com \"bad\" is invalid: spec: Invalid value: no good"), (answer.Code, answer.Message));
    }

    [Fact]
    public async Task TransitionRule_RunsOnUpdateOnly()
    {
        await _api.Define((Objects.Crd("""
            {"type":"object","properties":{"a":{"type":"integer","x-kubernetes-validations":[{"rule":"self == oldSelf","messageExpression":"'it is ' + (oldSelf == 1 ? 'one' : 'more') + ' for good'","reason":"FieldValueForbidden"}]},"b":{"type":"integer"}}}
            """)));
        await _api.Ok(_api.Post(Objects.Widgets, Objects.Widget("""{"a":1,"b":1}""")));
        await _api.Ok(_api.Merge(Objects.Widgets + "/a", """{"spec":{"b":2}}"""));
        var answer = await _api.Merge(Objects.Widgets + "/a", """{"spec":{"a":2}}""");
        Assert.Equal((422, "Widget.example.com \"a\" is invalid: spec.a: Forbidden: it is one for good"), (answer.Code, answer.Message));
    }

    [Theory]
    [
        InlineData(
            """{"type":"object","properties":{"a":{}}}""",
            "properties[spec].properties[a].type: Required value: must not be empty for specified object fields")]
    [InlineData("""{"type":"object","properties":{"a":{"type":"integer","default":"x"}}}""", "must be of type integer")]
    [InlineData("""{"type":"object","properties":{"l":{"type":"array"}}}""", "properties[l].items: Required value: must be specified")]
    [
        InlineData(
            """{"type":"object","properties":{"l":{"type":"array","uniqueItems":true,"items":{"type":"string"}}}}""",
            "uniqueItems cannot be set to true")]
    [InlineData("""{"type":"object","properties":{"l":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],"items":{"type":"object","properties":{"k":{"type":"string"}}}}}}""", "must have a default or be a required property")]
    [InlineData("""{"type":"object","anyOf":[{"type":"object"}]}""", "anyOf[0].type: Forbidden: must be empty to be structural")]
    [InlineData("""{"type":"object","properties":{"a":{"type":"object","properties":{"b":{"type":"string"}},"additionalProperties":{"type":"string"}}}}""", "mutual exclusive")]
    [InlineData("""{"type":"object","properties":{"s":{"type":"string","pattern":"("}}}""", "must be a valid regular expression")]
    [
        InlineData(
            """{"type":"object","properties":{"s":{"type":"string"}},"x-kubernetes-validations":[{"rule":"self.t == ''"}]}""",
            "undefined field 't'")]
    [
        InlineData(
            """{"type":"object","properties":{"s":{"type":"string"}},"x-kubernetes-validations":[{"rule":"self.s == 1"}]}""",
            "found no matching overload for '_==_' applied to '(string, int)'")]
    [
        InlineData(
            """{"type":"object","properties":{"s":{"type":"string"}},"x-kubernetes-validations":[{"rule":"self.s"}]}""",
            "must evaluate to a bool")]
    [InlineData("""{"type":"object","properties":{"l":{"type":"array","items":{"type":"string"}}},"x-kubernetes-validations":[{"rule":"self.l.all(x, self.l.all(y, x == y || x != y))"}]}""", "estimated rule cost exceeds budget by factor of more than 100x")]
    [InlineData("""{"type":"object","properties":{"l":{"type":"array","items":{"type":"object","properties":{"s":{"type":"string"}},"x-kubernetes-validations":[{"rule":"self.s.contains('x')"}]}}}}""", "estimated rule cost exceeds budget")]
    [InlineData("""{"type":"object","properties":{"a":{"type":"integer","x-kubernetes-validations":[{"rule":"self > 0","messageExpression":"'is ' + string(self)"}]}}}""", "messageExpression: Forbidden: estimated messageExpression cost exceeds budget by factor of more than 100x")]
    [InlineData("""{"type":"object","properties":{"l":{"type":"array","maxItems":2,"items":{"type":"object","properties":{"s":{"type":"string","maxLength":5}},"x-kubernetes-validations":[{"rule":"self == oldSelf"}]}}}}""", "oldSelf cannot be used on the uncorrelatable portion")]
    public async Task Definition_ThatARealServerRefuses_IsRefused(string schema, string expected)
    {
        var answer = await _api.Post(Crds, Objects.Crd(schema));
        Assert.Equal(422, answer.Code);
        Assert.Contains(expected, answer.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Object_IsPrunedAndDefaulted()
    {
        await _api.Define((Objects.Crd("""{"type":"object","properties":{"a":{"type":"integer","default":7},"o":{"type":"object","default":{},"properties":{"x":{"type":"string","default":"y"}}}}}""")));
        var created = await _api.Ok(_api.Post(Objects.Widgets, Objects.Widget("""{"b":1}""")));
        Assert.Equal("""{"a":7,"o":{"x":"y"}}""", created.At("spec")!.ToJsonString());
    }

    [Fact]
    public async Task Status_IsWrittenThroughItsSubresourceOnly()
    {
        await _api.Define((Objects.Crd("""{"type":"object","properties":{"a":{"type":"integer"}}}""")));
        var body = Objects.Widget("""{"a":1}""");
        body["status"] = new JsonObject { ["x"] = 1 };
        var created = await _api.Ok(_api.Post(Objects.Widgets, body));
        Assert.Null(created.At("status"));
        var status = await _api.Ok(_api.Merge(Objects.Widgets + "/a/status", """{"spec":{"a":2},"status":{"x":3}}"""));
        Assert.Equal((1L, 3L, 1L), (status.Number("spec", "a"), status.Number("status", "x"), status.Number("metadata", "generation")));
        var spec = await _api.Ok(_api.Merge(Objects.Widgets + "/a", """{"spec":{"a":2},"status":{"x":4}}"""));
        Assert.Equal((2L, 3L, 2L), (spec.Number("spec", "a"), spec.Number("status", "x"), spec.Number("metadata", "generation")));
    }

    [Fact]
    public async Task Schema_MadeStricter_LeavesStoredObjectsReadableAndRatchets()
    {
        var crd = await _api.Define((Objects.Crd("""{"type":"object","x-kubernetes-preserve-unknown-fields":true}""")));
        await _api.Ok(_api.Post(Objects.Widgets, Objects.Widget("""{"a":"poison"}""")));
        var strict = Objects.Crd("""{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}}}""");
        strict["metadata"]!["resourceVersion"] = crd.Text("metadata", "resourceVersion");
        strict["metadata"]!["resourceVersion"] = (await _api.Ok(_api.Get(Crds + "/widgets.example.com")))
            .Text("metadata", "resourceVersion");
        await _api.Ok(_api.Put(Crds + "/widgets.example.com", strict));
        Assert.Equal("poison", (await _api.Ok(_api.Get(Objects.Widgets + "/a"))).Text("spec", "a"));
        await _api.Ok(_api.Merge(Objects.Widgets + "/a", """{"metadata":{"labels":{"x":"y"}}}"""));
        Assert.Equal(422, (await _api.Merge(Objects.Widgets + "/a", """{"spec":{"a":"other"}}""")).Code);
    }

    [Fact]
    public async Task Definition_WhenDeleted_TakesItsObjectsAlong()
    {
        await _api.Define((Objects.Crd("""{"type":"object"}""")));
        await _api.Ok(_api.Post(Objects.Widgets, Objects.Widget("{}")));
        await _api.Ok(_api.Delete(Crds + "/widgets.example.com"));
        await Objects.Until(
            async () => (await _api.Get(Objects.Widgets)).Code == 404 && (await _api.Get(Crds + "/widgets.example.com")).Code == 404,
            "the definition is gone");
        await _api.Define((Objects.Crd("""{"type":"object"}""")));
        Assert.Empty((await _api.Ok(_api.Get(Objects.Widgets))).Items("items"));
    }
}

// Why this exists: a script that meets an error anywhere (API, hub, ingest, limits, sign-in) reads one format, problem+json of RFC 9457,
// with one sentence that says what to do.
using System.Text.Json;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.WebUtilities;

namespace CoCLR.Dashboard.Formatting;

/// <summary>Errors of everything that is not a page.</summary>
internal static class Problems
{
    private const string MediaType = "application/problem+json";

    /// <summary>An error with a sentence for whoever asked.</summary>
    public static ProblemHttpResult Of(int status, string detail) => TypedResults.Problem(detail, statusCode: status);

    /// <summary>400.</summary>
    public static ProblemHttpResult Wrong(string detail) => Of(StatusCodes.Status400BadRequest, detail);

    /// <summary>404, also for what may not be seen.</summary>
    public static ProblemHttpResult Missing(string what) =>
        Of(StatusCodes.Status404NotFound, $"There is no {what}, or you may not see it.");

    /// <summary>Catches what requests of scripts throw, and gives answers that have a status and no words their words.</summary>
    public static void UseProblems(this IApplicationBuilder app)
    {
        app.UseExceptionHandler(new ExceptionHandlerOptions
        {
            ExceptionHandler = OfExceptionAsync,

            // What a caller did wrong is told to the caller and is no error of the server.
            SuppressDiagnosticsCallback = c => c.Exception is BadHttpRequestException,
        });
        app.UseStatusCodePages(c => WriteAsync(c.HttpContext, c.HttpContext.Response.StatusCode, Words(c.HttpContext.Response.StatusCode)));
    }

    /// <summary>Writes an error as the whole answer.</summary>
    public static Task WriteAsync(HttpContext context, int status, string? detail)
    {
        context.Response.StatusCode = status;
        var problem = new ProblemDetails
        {
            Status = status, Title = ReasonPhrases.GetReasonPhrase(status), Type = $"https://httpwg.org/specs/rfc9110.html#status.{status}",
            Detail = detail
        };
        return context.Response.WriteAsJsonAsync(problem, JsonSerializerOptions.Web, MediaType, context.RequestAborted);
    }

    private static Task OfExceptionAsync(HttpContext context) => context.Features.Get<IExceptionHandlerFeature>()?.Error switch
    {
        BadHttpRequestException { InnerException: JsonException json } =>
            WriteAsync(context, StatusCodes.Status400BadRequest, $"The body is not the JSON that is expected: {Words(json)}"),
        BadHttpRequestException bad => WriteAsync(context, bad.StatusCode, bad.Message),
        _ => WriteAsync(
            context,
            StatusCodes.Status500InternalServerError,
            "Something went wrong here; the dashboard's log says what. Nothing was changed halfway."),
    };

    /// <summary>What is wrong with JSON, without the names of our types.</summary>
    private static string Words(JsonException json) =>
        json.Message.Contains("CoCLR.", StringComparison.Ordinal) || json.Message.Contains("System.", StringComparison.Ordinal)
        ? $"{json.Path} on line {json.LineNumber + 1} has another type than belongs there."
        : json.Message;

    private static string? Words(int status) => status switch
    {
        StatusCodes.Status401Unauthorized =>
            "Sign in, or send a token that is known and not expired: Authorization: Bearer TOKEN (made on the page Access).",
        StatusCodes.Status403Forbidden => "Your role or your token does not include this.",
        StatusCodes.Status404NotFound => "There is nothing at this address; the page API lists what there is.",
        StatusCodes.Status405MethodNotAllowed => "This address does not take this method; the page API lists what there is.",
        StatusCodes.Status413PayloadTooLarge => "The body is larger than is taken here.",
        StatusCodes.Status429TooManyRequests => "Too many requests: wait as long as Retry-After says.",
        _ => null,
    };
}

import { render as draw, h } from "preact";
import { Gallery } from "./components/Gallery";
import { type Model, Session } from "./session";
import "./style.css";
import "./styles/tools.css";
import "./styles/promptbar.css";
import "./styles/review.css";
import "./styles/facets.css";
import "./styles/table.css";
import "./styles/agreement.css";
import "./styles/scores.css";
import "./styles/map.css";
import "./styles/contrast.css";

/**
 * The widget, as anywidget wants it: a function that is called once for every model that loads
 * this module.
 *
 * Hosts may hand out a new wrapper of the model with every view, and take away with a view what was
 * listened to through its wrapper. So the session is made from the model of `initialize`, which
 * lives as long as the widget, and found again by the closure rather than by the model's identity.
 */
export default function widget() {
  const sessions = new WeakMap<Model, Session>();
  const initialized: Session[] = [];

  const sessionOf = (model: Model): Session => {
    let session = sessions.get(model) ?? (initialized.length === 1 ? initialized[0] : undefined);
    if (!session) {
      session = new Session(model);
      sessions.set(model, session);
    }
    return session;
  };

  return {
    initialize({ model }: { model: Model }): void {
      const session = new Session(model);
      sessions.set(model, session);
      initialized.push(session);
    },

    render({ model, el }: { model: Model; el: HTMLElement }): () => void {
      const session = sessionOf(model);
      const view = session.open();
      draw(h(Gallery, { session, view }), el);
      return () => {
        draw(null, el);
        view.close();
      };
    },
  };
}
